/** `1 tablet`, `2 tablets`, `1,000 tablets`. */
export function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}
