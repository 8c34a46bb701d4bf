/**
 * Many rows for one statement, as a text for each column: the database splits that faster than it reads JSON or an array.
 *
 * @since 0.1.0
 */

/** Joins the values of a column; no value that is sent has it. */
const SEPARATOR = "\u001e"

/** Joins columns. */
const COLUMN_SEPARATOR = "\u001d"

/** What joins the values of a column, in the words of SQL. @category sql @since 0.1.0 */
export const separator = "chr(30)"

/** Values of the rows of a query as columns in one text, as {@link split} reads it. @category sql @since 0.1.0 */
export const gathered = (rowValues: ReadonlyArray<string>): string =>
  `concat_ws(chr(29), ${rowValues.map((value) => `string_agg((${value})::text, ${separator})`).join(", ")})`

/** The columns of {@link gathered}; none where there were no rows. @category decoding @since 0.1.0 */
export const split = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text === "" ? [] : text.split(COLUMN_SEPARATOR).map((column) => column.split(SEPARATOR))

/** One column of some rows; what is null is read as null by {@link nullable}. @category encoding @since 0.1.0 */
export const join = <A>(rows: ReadonlyArray<A>, valueOf: (row: A) => string | null): string => {
  let text = ""
  let isFirst = true
  for (const row of rows) {
    const value = valueOf(row) ?? ""
    if (isFirst) isFirst = false
    else text += SEPARATOR
    text += value.includes(SEPARATOR) ? value.replaceAll(SEPARATOR, "\uFFFD") : value
  }
  return text
}

/** The values of a column that has no null: an array of texts. @category sql @since 0.1.0 */
export const values = (column: string): string => `string_to_array(${column}, ${separator})`

/** The values of a column in which nothing stands for null. @category sql @since 0.1.0 */
export const nullable = (column: string): string => `string_to_array(${column}, ${separator}, '')`
