import { decodeRawString, type RawJson, type RawObject } from './raw-json.ts';

/*
 * What stands in a record at a place. All throw SyntaxError where something else stands there.
 */

export function objectOf(json: RawJson | undefined): RawObject {
  if (!(json instanceof Map)) throw new SyntaxError('an object is missing');
  return json as RawObject;
}

export function arrayOf(json: RawJson | undefined): readonly RawJson[] {
  if (!Array.isArray(json)) throw new SyntaxError('a list is missing');
  return json as readonly RawJson[];
}

export function scalarOf(json: RawJson | undefined): string {
  if (typeof json !== 'string') throw new SyntaxError('a value is missing');
  return json;
}

export function textOf(json: RawJson | undefined): string {
  const raw = scalarOf(json);
  if (!raw.startsWith('"')) throw new SyntaxError('a text is missing');
  return decodeRawString(raw);
}

export function numberOf(json: RawJson | undefined): number {
  const number = Number(scalarOf(json));
  if (!Number.isSafeInteger(number)) throw new SyntaxError('a whole number is missing');
  return number;
}
