/** A line of a record. */
export interface RecordLine {
  /** Empty for a row or its tombstone. */
  readonly kind: string;
  /** As they stand there; null for the word `null`. */
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly position: string;
  readonly timestampMs: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = new Set(Buffer.from('{['));
const CLOSE = new Set(Buffer.from('}]'));
const COMMA = 0x2c;
const KEY = '"key":';
const VALUE = ',"value":';
const POS = ',"pos":"';
const START = /^\{(?:"kind":"([a-z-]+)",)?"key":/;
const TAIL = /^([^"]*)","ts":(-?\d+)\}$/;

/** Whether it is a line of a record, and not of what is between them. */
export function isRecord(line: Buffer): boolean {
  return START.test(line.toString('latin1', 0, 64));
}

/** Of a record; null for a line of another sort. */
export function positionOf(line: Buffer): string | null {
  if (!isRecord(line)) return null;
  const pos = line.lastIndexOf(POS) + POS.length;
  return line.toString('latin1', pos, line.indexOf('"', pos));
}

/** Key and value are found and copied as they stand: parsing would change long numbers. Null for a line of another sort. */
export function parseRecord(line: Buffer): RecordLine | null {
  const head = line.toString('latin1', 0, 64);
  const match = START.exec(head);
  const pos = line.lastIndexOf(POS);
  if (match === null || pos < 0) return null;
  const keyStart = line.indexOf(KEY) + KEY.length;
  const keyEnd = endOfJson(line, keyStart);
  const tail = TAIL.exec(line.toString('latin1', pos + POS.length));
  if (tail === null || line.toString('latin1', keyEnd, keyEnd + VALUE.length) !== VALUE) return null;
  return {
    kind: match[1] ?? '',
    key: orNull(line.subarray(keyStart, keyEnd)),
    value: orNull(line.subarray(keyEnd + VALUE.length, pos)),
    position: tail[1]!,
    timestampMs: Number(tail[2]),
  };
}

function orNull(bytes: Buffer): Buffer | null {
  return bytes.toString('latin1', 0, 5) === 'null' ? null : Buffer.from(bytes);
}

/** @returns where the JSON document that begins at `at` ends, and a comma follows */
function endOfJson(line: Buffer, at: number): number {
  let depth = 0;
  let isText = false;
  for (; at < line.length; at++) {
    const byte = line[at]!;
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (OPEN.has(byte)) depth++;
    else if (CLOSE.has(byte)) depth--;
    else if (byte === COMMA && depth === 0) break;
  }
  return at;
}
