import type * as z from 'zod';
import { nearest } from './nearest.ts';

/** One fault of a body. `path` is dotted with list indexes in brackets, `""` for the whole body. */
export interface BodyFault {
  readonly path: string;
  readonly message: string;
}

/** One issue of zod is one fault, but for unknown fields, which zod reports together. @param known what may stand there */
export function faultsOf(issue: z.core.$ZodIssue, known: readonly string[]): BodyFault[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: formatPath(issue.path), message: issue.message }];
  return issue.keys.map((key) => {
    const meant = nearest(key, known);
    const hint = meant === null ? `known are ${known.join(', ')}` : `did you mean ${meant}?`;
    return { path: formatPath([...issue.path, key]), message: `is not known; ${hint}` };
  });
}

/** Says what is allowed, where the schema has no message of its own. */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type')
    return issue.input === undefined
      ? 'is required'
      : `must be ${withArticle(issue.expected)}, not ${typeName(issue.input)}`;
  if (issue.code === 'invalid_value') return `must be one of ${quoteAll(issue.values)}`;
  if (issue.code === 'invalid_union')
    return `must be one of ${quoteAll(Array.isArray(issue.options) ? issue.options : [])}`;
  return undefined;
}

function quoteAll(values: readonly unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(', ');
}

function withArticle(type: string): string {
  return `${/^[aeio]/.test(type) ? 'an' : 'a'} ${type}`;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : withArticle(typeof value);
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}
