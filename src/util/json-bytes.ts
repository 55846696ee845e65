/*
 * JSON strings straight from bytes to bytes. Each function writes at `at` and answers the position after what it
 * wrote; the caller has made room.
 */

/** What a string of `bytes` bytes needs at most: every byte escaped, and the quotes. */
export function maxJsonStringBytes(bytes: number): number {
  return bytes * 6 + 2;
}

/** What {@link writeBase64String} needs. */
export function base64StringBytes(bytes: number): number {
  return Math.ceil(bytes / 3) * 4 + 2;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEX = Buffer.from('0123456789abcdef', 'latin1');
const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 'latin1');
/** The letter of a two-character escape, or 0. */
const SHORT_ESCAPE = new Uint8Array(256);
const SHORT_ESCAPES = { '"': '"', '\\': '\\', '\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r' };
for (const [char, letter] of Object.entries(SHORT_ESCAPES)) SHORT_ESCAPE[char.charCodeAt(0)] = letter.charCodeAt(0);

/**
 * A quoted JSON string of `source[from .. to)`, read as UTF-8; what must be escaped is, nothing else.
 *
 * A byte that is not part of valid UTF-8 comes out as the escape of a lone low surrogate, `\udc80` .. `\udcff` (Python's
 * surrogateescape): still valid JSON, no two inputs give the same text, and the bytes can be had back.
 */
export function writeJsonString(out: Uint8Array, at: number, source: Uint8Array, from: number, to: number): number {
  out[at++] = QUOTE;
  at = to - from < LONG_BYTES ? writeChars(out, at, source, from, to, to) : writeLong(out, at, source, from, to);
  out[at++] = QUOTE;
  return at;
}

/** Where {@link writeChars} came to in the source: behind a character, so perhaps behind what it was asked for. */
let readTo = 0;

/** Character after character, from `i` to `until`, in a string that ends at `to`. */
function writeChars(out: Uint8Array, at: number, source: Uint8Array, i: number, until: number, to: number): number {
  while (i < until) {
    const byte = source[i]!;
    if (byte >= 0x80) {
      const length = utf8Length(source, i, to);
      if (length === 0) {
        at = writeEscape(out, at, 0xdc, byte);
        i++;
      } else {
        for (const end = i + length; i < end; i++) out[at++] = source[i]!;
      }
    } else {
      if (byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH) out[at++] = byte;
      else if (SHORT_ESCAPE[byte] !== 0) {
        out[at++] = BACKSLASH;
        out[at++] = SHORT_ESCAPE[byte]!;
      } else at = writeEscape(out, at, 0, byte);
      i++;
    }
  }
  readTo = i;
  return at;
}

/** Below it, character after character is as fast. */
const LONG_BYTES = 24;
/**
 * So many bytes go character after character where one must be looked at, before four at a time are tried again; more if
 * that was vain.
 */
const PAUSE_BYTES = 16;
const MAX_PAUSE_BYTES = 512;

/** Of what is larger no view is kept: it may be one operation's alone, and nothing else needs its memory any more. */
const MAX_KEPT_BYTES = 4 * 1024 * 1024;

/** Most strings are of the memory of the one before, and go into that of the one before. */
const NOTHING: Uint8Array = new Uint8Array(0);
const VIEW_OF_NOTHING = viewOf(NOTHING);
let [viewedSource, viewOfSource] = [NOTHING, VIEW_OF_NOTHING];
let [viewedOut, viewOfOut] = [NOTHING, VIEW_OF_NOTHING];

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

function writeLong(out: Uint8Array, at: number, source: Uint8Array, i: number, to: number): number {
  if (source !== viewedSource) [viewedSource, viewOfSource] = [source, viewOf(source)];
  if (out !== viewedOut) [viewedOut, viewOfOut] = [out, viewOf(out)];
  let pauseBytes = 0;
  while (i < to) {
    const plain = copyPlain(viewOfOut, at, viewOfSource, i, to);
    pauseBytes = plain >= PAUSE_BYTES ? PAUSE_BYTES : Math.min(2 * pauseBytes + PAUSE_BYTES, MAX_PAUSE_BYTES);
    const until = Math.min(to, i + plain + pauseBytes);
    at = writeChars(out, at + plain, source, i + plain, until, to);
    i = readTo;
  }
  if (viewedSource.length > MAX_KEPT_BYTES) [viewedSource, viewOfSource] = [NOTHING, VIEW_OF_NOTHING];
  if (viewedOut.length > MAX_KEPT_BYTES) [viewedOut, viewOfOut] = [NOTHING, VIEW_OF_NOTHING];
  return at;
}

/**
 * Copies from `i` on, four bytes at a time, as long as they are ASCII and stand in JSON for themselves.
 * @returns how many were copied
 */
function copyPlain(out: DataView, at: number, source: DataView, i: number, to: number): number {
  const shift = at - i;
  let four = i;
  for (; four <= to - 4; four += 4) {
    const bytes = source.getInt32(four, true);
    // The top bit of a byte is set in one of these where it is below a space, a quote, a backslash or not ASCII (0xa2 in
    // `control`, all others in `quote`); where one is, those above it in the word may be taken for such, too.
    const control = bytes - 0x20202020;
    const quote = (bytes ^ 0x22222222) - 0x01010101;
    const backslash = (bytes ^ 0x5c5c5c5c) - 0x01010101;
    if (((control | quote | backslash) & 0x80808080) !== 0) break;
    out.setInt32(four + shift, bytes, true);
  }
  return four - i;
}

/** A quoted base64 string (RFC 4648 section 4, padded) of `source[from .. to)`. */
export function writeBase64String(out: Uint8Array, at: number, source: Uint8Array, from: number, to: number): number {
  out[at++] = QUOTE;
  let i = from;
  for (; i + 2 < to; i += 3) {
    const three = (source[i]! << 16) | (source[i + 1]! << 8) | source[i + 2]!;
    out[at++] = BASE64[three >> 18]!;
    out[at++] = BASE64[(three >> 12) & 63]!;
    out[at++] = BASE64[(three >> 6) & 63]!;
    out[at++] = BASE64[three & 63]!;
  }
  if (i < to) {
    const two = (source[i]! << 8) | (i + 1 < to ? source[i + 1]! : 0);
    out[at++] = BASE64[two >> 10]!;
    out[at++] = BASE64[(two >> 4) & 63]!;
    out[at++] = i + 1 < to ? BASE64[(two << 2) & 63]! : 0x3d;
    out[at++] = 0x3d;
  }
  out[at++] = QUOTE;
  return at;
}

function writeEscape(out: Uint8Array, at: number, high: number, low: number): number {
  out[at] = BACKSLASH;
  out[at + 1] = 0x75; // u
  out[at + 2] = HEX[high >> 4]!;
  out[at + 3] = HEX[high & 15]!;
  out[at + 4] = HEX[low >> 4]!;
  out[at + 5] = HEX[low & 15]!;
  return at + 6;
}

/**
 * Bytes of the well-formed sequence at `i`, or 0. Overlong forms, surrogates and what lies beyond U+10FFFF are not
 * well-formed. Source: Unicode, table 3-7.
 */
function utf8Length(source: Uint8Array, i: number, to: number): number {
  const first = source[i]!;
  if (first < 0xc2 || first > 0xf4 || i + 1 >= to) return 0;
  const second = source[i + 1]!;
  if (first < 0xe0) return isTail(second) ? 2 : 0;
  if (i + 2 >= to || !isTail(source[i + 2]!)) return 0;
  if (first < 0xf0) {
    const low = first === 0xe0 ? 0xa0 : 0x80;
    const high = first === 0xed ? 0x9f : 0xbf;
    return second >= low && second <= high ? 3 : 0;
  }
  if (i + 3 >= to || !isTail(source[i + 3]!)) return 0;
  const low = first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xf4 ? 0x8f : 0xbf;
  return second >= low && second <= high ? 4 : 0;
}

function isTail(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
