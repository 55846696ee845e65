import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  writeBigInt,
  writeInt,
  writeInt64,
  writeLatin1,
  writeUint,
  writeUint64,
} from '../../../src/util/ascii-numbers.ts';

/** What a writer wrote, with guards on both sides: it writes where it was told and nowhere else. */
function written(write: (out: Buffer, at: number) => number): string {
  const out = Buffer.alloc(64, 0x21);
  const end = write(out, 7);
  assert.match(out.toString('latin1', 0, 7), /^!+$/);
  assert.match(out.toString('latin1', end), /^!+$/);
  return out.toString('latin1', 7, end);
}

const halves = (value: bigint): [number, number] => [
  Number(BigInt.asUintN(32, value >> 32n)),
  Number(BigInt.asUintN(32, value)),
];
const INT64_EDGES = [0n, 1n, -1n, 9n, 10n, 99_999_999n, 100_000_000n, 2n ** 31n, 2n ** 32n, -(2n ** 32n)].concat([
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  -(2n ** 53n) - 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  10n ** 16n,
  -(10n ** 18n),
]);

describe('ascii numbers', () => {
  it('writes every 64-bit integer exactly, beyond 2^53 too', () => {
    const check = (value: bigint): void => {
      const [high, low] = halves(value);
      assert.equal(
        written((out, at) => writeInt64(out, at, high, low)),
        String(value),
      );
      assert.equal(
        written((out, at) => writeInt64(out, at, high | 0, low | 0)),
        String(value),
        'signed halves',
      );
      assert.equal(
        written((out, at) => writeBigInt(out, at, value)),
        String(value),
      );
    };
    INT64_EDGES.forEach(check);
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), check), { numRuns: 2000 });
    fc.assert(
      fc.property(fc.nat({ max: 62 }), fc.boolean(), (bits, up) => {
        check((1n << BigInt(bits)) * (up ? 1n : -1n));
      }),
    );
  });

  it('writes unsigned 64-bit integers', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        const [high, low] = halves(value);
        assert.equal(
          written((out, at) => writeUint64(out, at, high, low)),
          String(value),
        );
        assert.equal(
          written((out, at) => writeBigInt(out, at, value)),
          String(value),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it('writes safe integers', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        assert.equal(
          written((out, at) => writeInt(out, at, value)),
          String(value),
        );
        assert.equal(
          written((out, at) => writeUint(out, at, Math.abs(value))),
          String(Math.abs(value)),
        );
      }),
    );
  });

  it('writes text one byte a character', () => {
    assert.equal(
      written((out, at) => writeLatin1(out, at, '-1.5e+21')),
      '-1.5e+21',
    );
  });
});
