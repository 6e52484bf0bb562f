/**
 * Texts from outside: JSON and arguments may carry halves of characters, which no file name, no URI and no UTF-8 has.
 */

/** Whether it is Unicode: written as UTF-8 and read again it is the same. */
export function isWholeText(text: string): boolean {
  return Buffer.from(text, 'utf8').toString('utf8') === text;
}
