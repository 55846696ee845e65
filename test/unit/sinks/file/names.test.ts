import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  dataName,
  escapeName,
  parseDataName,
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
    assert.equal(openName(7, 'lines'), '0000000007.jsonl.open');
    assert.equal(tabletFile(openName(12_345_678_901, 'lines'))?.number, 12_345_678_901);
    const published = publishedName({ number: 3, part: 0, container: 'lines' }, 't/3.7.0', 't/3.9.12');
    assert.equal(published, '0000000003_3.7.0_3.9.12.jsonl');
    const names = [
      'owner',
      openName(12, 'lines'),
      '.begin-x',
      openName(3, 'lines'),
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

  it('tell files of Avro too, for which their journal stands', () => {
    const file = { number: 4, part: 1, container: 'avro' } as const;
    const [journal, data] = [openName(4, 'avro'), dataName(4, 1, 'a-b')];
    const published = publishedName(file, 't/3.7.0', 't/base.12');
    assert.deepEqual([journal, data], ['0000000004.avro.journal', '0000000004-001.a-b.avro.open']);
    assert.equal(published, '0000000004-001_3.7.0_base.12.avro');
    assert.deepEqual(parseDataName(data), { number: 4, part: 1 });
    assert.equal(tabletFile(data), null);
    assert.deepEqual(
      filesIn([data, published, journal]).map(({ name }) => name),
      [journal],
    );
    assert.deepEqual(filesIn([published, data]), [{ name: published, ...file, state: 'published' }]);
  });

  it('keep streams, generations and installations apart', () => {
    const key = { installation: 'i', streamName: 's', generation: 'g' };
    assert.equal(streamFolder('/data', key), '/data/s/i.g');
    assert.notEqual(streamFolder('/data', { ...key, generation: '../x' }), streamFolder('/data', key));
  });
});
