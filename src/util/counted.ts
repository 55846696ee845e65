/** To make one takes longer than to use it a hundred times. */
const whole = new Intl.NumberFormat('en');

/** `1 tablet`, `2 tablets`, `1,000 tablets`. */
export function counted(count: number, what: string): string {
  return `${whole.format(count)} ${what}${count === 1 ? '' : 's'}`;
}
