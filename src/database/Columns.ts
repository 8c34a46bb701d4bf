/**
 * Many rows for one statement, as a text for each column: the database splits that faster than it reads JSON or an array.
 *
 * @since 0.1.0
 */

/** Joins the values of a column; no value that is sent has it. */
const SEPARATOR = "\u001e"

/** What joins the values of a column, in the words of SQL. @category sql @since 0.1.0 */
export const separator = "chr(30)"

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
