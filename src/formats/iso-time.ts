import { writeLatin1 } from '../util/ascii-numbers.ts';

/** Of any time or date below. */
export const MAX_ISO_CHARS = 32;

const SECOND_MICROS = 1_000_000n;
const DAY_SECONDS = 86_400n;

/** Microseconds since 1970-01-01 UTC as `2026-11-29T16:10:11.000000Z`: always six digits, so that text goes by time. */
export function isoMicros(micros: bigint): string {
  const [seconds, fraction] = divideDown(micros, SECOND_MICROS);
  const [days, second] = divideDown(seconds, DAY_SECONDS);
  const [hour, minute] = [Math.floor(second / 3600), Math.floor((second % 3600) / 60)];
  return `${isoDate(Number(days))}T${padded(hour)}:${padded(minute)}:${padded(second % 60)}.${padded(fraction, 6)}Z`;
}

/** Days since 1970-01-01 as `2026-11-29`; a year of more than four digits with a sign (ISO 8601). */
export function isoDate(days: number): string {
  // Years that begin in March: the day that comes and goes is the last of them. Eras of 400 years are all alike.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${isoYear(year)}-${padded(month)}-${padded(day)}`;
}

const DATE = /^([+-]?\d{4,6})-(\d\d)-(\d\d)$/;
const TIME = /^(.*)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z$/;

/** What {@link isoMicros} was given; null for another text. */
export function parseIsoMicros(text: string): bigint | null {
  const [, date = '', hour, minute, second, fraction = ''] = TIME.exec(text) ?? [];
  const days = parseIsoDate(date);
  if (days === null) return null;
  const seconds = Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  return (BigInt(days) * DAY_SECONDS + BigInt(seconds)) * SECOND_MICROS + BigInt(fraction);
}

/** What {@link isoDate} was given; null for another text. */
export function parseIsoDate(text: string): number | null {
  const match = DATE.exec(text);
  if (!match) return null;
  const [year, month, day] = match.slice(1).map(Number) as [number, number, number];
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Writes what {@link isoMicros} says of the cell. */
export function writeIsoMicros(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeLatin1(out, at, isoMicros(rows.readBigInt64LE(cell)));
}

/** Writes what {@link isoDate} says of the cell. */
export function writeIsoDate(out: Buffer, at: number, rows: Buffer, cell: number): number {
  return writeLatin1(out, at, isoDate(rows.readInt32LE(cell)));
}

/** Whole milliseconds at or before so many microseconds since the epoch. */
export function microsToMillis(micros: bigint): bigint {
  const millis = micros / 1000n;
  return millis * 1000n > micros ? millis - 1n : millis;
}

/** The quotient rounded down, and the rest that is never below zero. */
function divideDown(value: bigint, by: bigint): [bigint, number] {
  const rest = ((value % by) + by) % by;
  return [(value - rest) / by, Number(rest)];
}

function isoYear(year: number): string {
  if (year >= 0 && year <= 9999) return padded(year, 4);
  return `${year < 0 ? '-' : '+'}${padded(Math.abs(year), 4)}`;
}

function padded(value: number, digits = 2): string {
  return String(value).padStart(digits, '0');
}
