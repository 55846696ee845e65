import assert from 'node:assert/strict';
import { inspect } from 'node:util';

/*
 * Makes `assert.ok` without words fail at once. Node looks in the source for the expression that failed, at the place where it
 * stands in what runs; tsx makes one line of a file, so that is a place where something else stands, or nothing: Node says something
 * wrong then, after up to minutes of parsing. The line is in the trace all the same.
 * Source: lib/internal/assert/utils.js, findColumn.
 */

const said: typeof assert.ok = assert.ok;

assert.ok = function ok(value: unknown, message?: string | Error): asserts value {
  if (!value && message === undefined) {
    const actual = { message: `${inspect(value)} where something true was expected`, actual: value, expected: true };
    throw new assert.AssertionError({ ...actual, operator: '==', stackStartFn: ok });
  }
  said(value, message);
};
