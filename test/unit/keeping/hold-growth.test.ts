import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HoldGrowth } from '../../../src/keeping/hold-growth.ts';

describe('how fast a held log grows', () => {
  it('is a mean, so that a segment that comes at once makes no alarm', () => {
    const growth = new HoldGrowth();
    let bytes = 0;
    for (let second = 0; second < 120; second++) {
      if (second % 8 === 0) bytes += 8 << 20; // a megabyte a second, in segments
      growth.note(bytes, second * 1000);
      growth.note(bytes, second * 1000 + 10); // too soon to say anything
      if (second > 60) assert.ok(Math.abs(growth.bytesPerSecond - (1 << 20)) < 1 << 19, `${growth.bytesPerSecond}`);
    }
  });
});
