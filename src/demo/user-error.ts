/** Something that the person at the terminal must do; shown without a stack. */
export class DemoError extends Error {
  override readonly name = 'DemoError';
}
