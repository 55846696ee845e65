import { canonicalToJson } from '../formats/canonical.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import type { Difference, NamedValue, RepeatedRow } from './comparison.ts';
import type { SkippedRow } from './repair.ts';
import type { ShownRecord, UnreadableRecord } from './stored-records.ts';
import type { VerifyResult } from './verify.ts';

/** What is printed, a line each. Values are spliced in as they are: an INT64 beyond 2^53 stays exact. */

export function differenceToText({ kind, table, key, columns, records, reason }: Difference): string {
  const changes = columns.map(
    ({ column, want, have }) => `${column}: want ${canonicalToJson(want)}, have ${canonicalToJson(have)}`,
  );
  const parts = [kind.padEnd(9), table, objectOf(key), ...(changes.length > 0 ? [changes.join('; ')] : [])];
  if (reason !== undefined) parts.push(reason);
  const places = records.map(recordToText).join(', ');
  return [...parts, records.length > 0 ? `records: ${places}` : 'no record'].join('  ');
}

export function repeatedToText({ table, key, repeats, records }: RepeatedRow): string {
  const places = records.map(recordToText).join(', ');
  return ['repeated'.padEnd(9), table, objectOf(key), `${repeats} times again`, `records: ${places}`].join('  ');
}

export function unreadableToText(record: UnreadableRecord): string {
  return ['unreadable', recordToText(record), record.reason].join('  ');
}

export function skippedToText({ table, key, tabletId, reason }: SkippedRow): string {
  const where = tabletId === null ? [] : [`tablet ${tabletId}`];
  return ['skipped'.padEnd(9), table, objectOf(key), ...where, reason].join('  ');
}

/** What was done about the result. */
export interface SummaryNotes {
  /** Rows that are wrong and were printed. */
  readonly shown: number;
  /** Rows that were shipped again before it, and others that could not be; null where none were to be. */
  readonly repair: { readonly repaired: number; readonly skipped: number } | null;
}

export function summaryToText(result: VerifyResult, { shown, repair }: SummaryNotes): string {
  const { at, tables, rows, records, repeats, missing, extra, different, before } = result;
  const { unreadable, replaced, later, leftOut, unseen, unchecked, notCompared } = result;
  const wrong = missing + extra + different + before;
  const notes = [
    ...(later > 0 ? [`${later} later ones not counted`] : []),
    ...(leftOut > 0 ? [`${leftOut} of dropped tablets or tables left out`] : []),
    ...(replaced > 0 ? [`${replaced} that cannot be read, and that later ones make up for`] : []),
  ];
  const lines = [
    `time        ${at} (${timeToIso(at)})`,
    `tables      ${tables.join(', ')}`,
    `rows        ${unseen > 0 ? `${rows} read, ${rows - unseen} of them compared` : `${rows} compared`}`,
    ...(unseen > 0 ? [`unseen      ${unseen} rows have no record: ${WHY_UNSEEN}`] : []),
    ...(notCompared.length > 0
      ? [`unchecked   ${unchecked} rows are ${notCompared.join(' or ')}: ${WHY_UNCHECKED}`]
      : []),
    `records     ${records} folded, ${repeats} of them repeats${notes.map((note) => `; ${note}`).join('')}`,
    ...(repair ? [`repaired    ${repair.repaired}`] : []),
    ...(repair && repair.skipped > 0 ? [`skipped     ${repair.skipped} could not be repaired`] : []),
    `missing     ${missing}`,
    `extra       ${extra}`,
    `different   ${different}`,
    ...(before > 0 ? [`before      ${before}: records that say that the row was another one before them`] : []),
    ...(unreadable > 0 ? [`unreadable  ${unreadable}`] : []),
    ...(shown < wrong ? [`shown       the first ${shown} of ${wrong} rows (--max-rows)`] : []),
    ...(repeats > 0 && !result.allowsRepeats
      ? [
          `repeated    ${repeats}: an exactly-once stream has none, but for what docs/operations.md names (--allow-repeats)`,
        ]
      : []),
  ];
  return lines.join('\n');
}

const WHY_UNCHECKED = 'the stream leaves operations out (skipOperations), so this tells nothing; no faults';
const WHY_UNSEEN = 'the stream began at now, and they may be from before it; not compared, and no faults';

export function differenceToJson({ kind, table, key, tabletId, columns, records, reason }: Difference): string {
  const changes = columns.map(
    ({ column, want, have }) =>
      `{"column":${JSON.stringify(column)},"want":${canonicalToJson(want)},"have":${canonicalToJson(have)}}`,
  );
  const places = records.map((record) => JSON.stringify(recordToJson(record)));
  const head = `"kind":"${kind}","table":${JSON.stringify(table)},"tablet_id":${JSON.stringify(tabletId)}`;
  return `{${head},"key":${objectOf(key)},"columns":[${changes.join()}],"records":[${places.join()}]${
    reason === undefined ? '' : `,"reason":${JSON.stringify(reason)}`
  }}`;
}

export function repeatedToJson({ table, key, tabletId, repeats, records }: RepeatedRow): string {
  const head = `"kind":"repeated","table":${JSON.stringify(table)},"tablet_id":${JSON.stringify(tabletId)}`;
  const places = records.map((record) => JSON.stringify(recordToJson(record)));
  return `{${head},"key":${objectOf(key)},"repeats":${repeats},"records":[${places.join()}]}`;
}

export function unreadableToJson(record: UnreadableRecord): string {
  return JSON.stringify({ kind: 'unreadable', record: recordToJson(record), reason: record.reason });
}

export function skippedToJson({ table, key, tabletId, reason }: SkippedRow): string {
  const head = `"kind":"skipped","table":${JSON.stringify(table)},"tablet_id":${JSON.stringify(tabletId)}`;
  return `{${head},"key":${objectOf(key)},"reason":${JSON.stringify(reason)}}`;
}

export function summaryToJson(result: VerifyResult, { shown, repair }: SummaryNotes): string {
  const { at, tables, later, leftOut, allowsRepeats, notCompared, ...counts } = result;
  return JSON.stringify({
    kind: 'summary',
    hybrid_time: at.toString(),
    time: timeToIso(at),
    tables,
    ...counts,
    later,
    left_out: leftOut,
    repeats_allowed: allowsRepeats,
    not_compared: notCompared,
    shown,
    ...repair,
  });
}

function recordToText({ position, place }: ShownRecord): string {
  return `${position ?? 'no spoor.pos'} (${place.text})`;
}

function recordToJson({ position, place }: ShownRecord): object {
  return { position, ...place.fields };
}

function objectOf(values: readonly NamedValue[]): string {
  return `{${values.map(({ column, value }) => `${JSON.stringify(column)}:${canonicalToJson(value)}`).join()}}`;
}

function timeToIso(at: bigint): string {
  const date = new Date(Number(hybridTimeToMicros(at) / 1000n));
  return Number.isNaN(date.getTime()) ? 'no time of day' : date.toISOString();
}
