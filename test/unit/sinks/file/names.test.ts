import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  escapeName,
  filesIn,
  openName,
  publishedName,
  streamFolder,
  tabletFile,
} from '../../../../src/sinks/file/names.ts';

describe('names of files and folders', () => {
  it('keep what is plain, and escape what could leave the folder', () => {
    assert.equal(escapeName('shop.orders_2'), 'shop.orders_2');
    assert.equal(escapeName('../../up'), '%2E.%2F%2E.%2Fup'.replace('%2F%2E', '%2F.'));
    assert.equal(escapeName('.'), '%2E');
    assert.equal(escapeName('a b\0ä%'), 'a%20b%00%C3%A4%25');
    assert.equal(escapeName(''), '%');
  });

  it('differ for texts that differ, however long', () => {
    const long = 'ü'.repeat(256);
    assert.notEqual(escapeName(`${long}a`), escapeName(`${long}b`));
    assert.ok(escapeName(long).length <= 255);
    assert.match(escapeName(long), /~[0-9a-f]{16}$/);
  });

  it('count files, and know no others', () => {
    assert.equal(openName(7), '0000000007.jsonl.open');
    assert.equal(tabletFile(openName(12_345_678_901))?.number, 12_345_678_901);
    const published = publishedName(3, 't/3.7.0', 't/3.9.12');
    assert.equal(published, '0000000003_3.7.0_3.9.12.jsonl');
    const names = [
      'owner',
      openName(12),
      '.begin-x',
      openName(3),
      published,
      '0000000002.jsonl',
      '1.jsonl',
      `${published}.gz`,
    ];
    assert.deepEqual(
      filesIn([...names, `${published}.open`, '.publish-x']).map(({ number, state }) => [number, state]),
      [
        [2, 'plain'],
        [3, 'published'],
        [12, 'open'],
      ],
    );
  });

  it('keep streams, generations and installations apart', () => {
    const key = { installation: 'i', streamName: 's', generation: 'g' };
    assert.equal(streamFolder('/data', key), '/data/s/i.g');
    assert.notEqual(streamFolder('/data', { ...key, generation: '../x' }), streamFolder('/data', key));
  });
});
