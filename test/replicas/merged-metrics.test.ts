/**
 * Metrics of several processes, told as one.
 */
import { assert, describe, it } from "@effect/vitest"
import { WorkerCounts } from "../../layers/WorkerCounts.ts"
import { merge } from "../../src/replicas/MergedMetrics.ts"

const text = (requests: number, open: number) =>
  `# HELP requests_total Requests
# TYPE requests_total counter
requests_total{model="a{b}, c",status="ok"} ${requests}
requests_total{model="d",status="ok"} 1
# HELP open_streams Streams
# TYPE open_streams gauge
open_streams ${open}
# TYPE took histogram
took_bucket{le="0.5"} 1
took_bucket{le="+Inf"} 2
took_sum 1.25
took_count 2
`

describe("metrics of several workers", () => {
  it("counters and histograms are added up, gauges told apart, comments told once", () => {
    assert.strictEqual(
      merge([
        { worker: "1", text: text(3, 5) },
        { worker: "2", text: text(4, 6) },
        { worker: null, text: text(10, 7) }
      ]),
      `# HELP requests_total Requests
# TYPE requests_total counter
requests_total{model="a{b}, c",status="ok"} 17
requests_total{model="d",status="ok"} 3
# HELP open_streams Streams
# TYPE open_streams gauge
open_streams{worker="1"} 5
open_streams{worker="2"} 6
# TYPE took histogram
took_bucket{le="0.5"} 3
took_bucket{le="+Inf"} 6
took_sum 3.75
took_count 6
`
    )
    assert.strictEqual(merge([{ worker: "1", text: "" }]), "")
  })

  it("what a worker counted is still told when it is gone, also when it goes while it is asked", async () => {
    const counts = new WorkerCounts()
    const told = (round: Promise<string>) => round.then((all) => Number(/^requests_total\{model="a.*\} (\d+)$/m.exec(all)?.[1]))
    counts.heard("1", text(5, 0))
    assert.strictEqual(await told(counts.collect(["2"], (worker, round) => counts.heard(worker, text(7, 0), round))), 12)
    counts.left("2")
    assert.strictEqual(await told(counts.collect([], () => {})), 12)
    assert.strictEqual(await told(counts.collect(["2"], (worker, round) => counts.heard(worker, text(1, 0), round))), 13)
    assert.strictEqual(await told(counts.collect(["2"], (worker) => counts.left(worker))), 13)
  })
})
