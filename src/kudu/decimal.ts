/** Decimal numbers as text: Kudu keeps value x 10^scale as a whole number. */

/** `unscaled` with `scale` digits after the point: `decimalToString(-1230n, 2)` is `-12.30`. */
export function decimalToString(unscaled: bigint, scale: number): string {
  if (scale === 0) return unscaled.toString();
  const negative = unscaled < 0n;
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${negative ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/**
 * The unscaled number of a decimal text (`-12.3`, `7`, `.5`), or null when it is no such text, has more digits after
 * the point than `scale` (zeros at the end apart), or more digits in all than `precision`.
 */
export function parseDecimal(text: string, precision: number, scale: number): bigint | null {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text);
  if (!match) return null;
  const [, sign = '', whole = '', fraction = ''] = match;
  if (whole === '' && fraction === '') return null;
  const kept = fraction.replace(/0+$/, '');
  if (kept.length > scale) return null;
  const magnitude = BigInt(whole + kept.padEnd(scale, '0') || '0');
  if (magnitude >= 10n ** BigInt(precision)) return null;
  return sign === '-' ? -magnitude : magnitude;
}
