import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { look, type Watch } from '../../../src/config/reread-files.ts';

describe('a file that is looked at again', () => {
  /** Whether each of these, seen one after the other, is taken up. */
  const taken = (...seen: readonly string[]): boolean[] => {
    let watch: Watch = { known: 'old', glimpsed: null };
    return seen.map((each) => {
      const looked = look(watch, each);
      watch = looked.watch;
      return looked.isNew;
    });
  };

  it('is taken up when it was seen the same twice: half of it may be written', () => {
    assert.deepEqual(taken('old', 'ne', 'new', 'new', 'new'), [false, false, false, true, false]);
  });

  it('that is back to what it was is nothing new', () => {
    assert.deepEqual(taken('ne', 'old', 'ne', 'old'), [false, false, false, false]);
  });

  it('is tried once, whatever comes of it, until it changes again', () => {
    assert.deepEqual(taken('bad', 'bad', 'bad', 'good', 'good', 'bad', 'bad'), [
      false,
      true,
      false,
      false,
      true,
      false,
      true,
    ]);
  });
});
