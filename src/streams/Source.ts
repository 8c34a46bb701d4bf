/**
 * What a stream is read from: pulled one read after another, or handed on as it comes. A stage of a Stream costs every read some
 * steps of the runtime; what is handed on costs a call.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Channel, Effect, type Pull, type Scope, Stream } from "effect"

/** Takes what one read brought; false: no more for now. @category models @since 0.1.0 */
export type Take<in A> = (pieces: Arr.NonEmptyReadonlyArray<A>) => boolean

/** @category models @since 0.1.0 */
export interface Source<out A, out E> {
  /** The next read. Its end and its failures come here alone. */
  readonly pull: Pull.Pull<Arr.NonEmptyReadonlyArray<A>, E>
  /**
   * Hands on whole reads, as they come, until they are taken no more or the next has to be pulled, which may be at once. What
   * `take` throws is a defect.
   */
  readonly flow: (take: Take<A>) => Effect.Effect<void>
}

const nothing = () => Effect.void

/** Of what can be pulled only. @category constructors @since 0.1.0 */
export const fromPull = <A, E>(pull: Source<A, E>["pull"]): Source<A, E> => ({ pull, flow: nothing })

/** Pulled by one who asks for nothing of the context: `Stream.toPull` would copy all of it for every read. @category constructors @since 0.1.0 */
export const fromStream = <A, E>(stream: Stream.Stream<A, E>): Effect.Effect<Source<A, E>, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => Effect.map(Channel.toPullScoped(stream.channel, scope), fromPull))

/** @category conversions @since 0.1.0 */
export const toStream = <A, E>({ pull }: Source<A, E>): Stream.Stream<A, E> => Stream.fromPull(Effect.succeed(pull))
