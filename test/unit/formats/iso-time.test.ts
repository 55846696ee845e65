import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { isoDate, isoMicros, microsToMillis, parseIsoDate, parseIsoMicros } from '../../../src/formats/iso-time.ts';

it('writes times and dates as JavaScript does, and reads them again', () => {
  const days = fc.integer({ min: -719_162, max: 2_932_896 }); // Kudu's: years 1 to 9999
  fc.assert(
    fc.property(days, (day) => {
      assert.equal(isoDate(day), new Date(day * 86_400_000).toISOString().slice(0, 10));
      assert.equal(parseIsoDate(isoDate(day)), day);
    }),
  );
  const micros = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n });
  fc.assert(
    fc.property(micros, (time) => {
      const text = isoMicros(time);
      assert.equal(text.slice(0, 23), new Date(Number(microsToMillis(time))).toISOString().slice(0, 23));
      assert.equal(parseIsoMicros(text), time);
    }),
  );
});

it('writes what has more than four digits of a year with a sign, and the least and greatest that there are', () => {
  assert.equal(isoMicros(2n ** 63n - 1n), '+294247-01-10T04:00:54.775807Z');
  assert.equal(isoMicros(-(2n ** 63n)), '-290308-12-21T19:59:05.224192Z');
  for (const time of [2n ** 63n - 1n, -(2n ** 63n)]) assert.equal(parseIsoMicros(isoMicros(time)), time);
  assert.equal(parseIsoMicros('yesterday'), null);
  assert.equal(parseIsoDate('2026-1-1'), null);
});
