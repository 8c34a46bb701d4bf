/**
 * The schema of the database, step by step; run on start, under a lock, the same on PGlite and Postgres.
 *
 * @since 0.1.0
 */
