import assert from 'node:assert/strict';
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { FileReader } from '../../../../src/sinks/file/file-reader.ts';
import { FileSink } from '../../../../src/sinks/file/file-sink.ts';
import { isOfKind } from '../../../contract/sink-checks.ts';
import { positionAt, recordAt, tabletOf } from '../../../contract/sink.ts';
import { batches } from '../../../support/record-batches.ts';
import { recordsOfStream } from '../../../support/spoor-files.ts';

const root = mkdtempSync(join(tmpdir(), 'spoor-file-recovery-'));
after(() => {
  rmSync(root, { recursive: true, force: true });
});
const never = new AbortController().signal;
const sinkIn = (dir: string, rotateSeconds = 60): FileSink =>
  new FileSink({ dir, rotateBytes: 1 << 20, rotateSeconds }, 'i');
const folderOf = (dir: string): string => join(dir, 's', 'i.first', tabletOf('s').tabletId);
const filesOf = (dir: string): string[] =>
  readdirSync(folderOf(dir))
    .filter((name) => /\.jsonl(\.open)?$/.test(name))
    .sort();
const newestOf = (dir: string): string => join(folderOf(dir), filesOf(dir).at(-1)!);

/** A folder with writes 1 to 3, as a process that died has left it. */
async function written(): Promise<string> {
  const dir = mkdtempSync(join(root, 'dir-'));
  await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
  for (const index of [1, 2, 3]) await writer.write(batches([recordAt(index)]), positionAt(index), never);
  return dir;
}

describe('a file that was left by a process that died', () => {
  it('counts up to its last whole commit, wherever it was cut', async () => {
    const dir = await written();
    const whole = readFileSync(newestOf(dir));
    const ends = [...whole.toString('latin1').matchAll(/^\{"commit".*$/gm)].map(
      ({ 0: line, index }) => index + line.length,
    );
    const start = whole.indexOf(10) + 1;
    for (let size = start; size <= whole.length; size += 7) {
      const copy = mkdtempSync(join(root, 'cut-'));
      cpSync(dir, copy, { recursive: true, verbatimSymlinks: true });
      truncateSync(newestOf(copy), size);
      const committed = ends.filter((end) => end <= size).length;
      await using writer = await sinkIn(copy).openTablet(tabletOf('s'), never);
      assert.deepEqual(writer.position, committed === 0 ? null : positionAt(committed), `cut at ${size}`);
      await writer.write(batches([recordAt(committed + 1)]), positionAt(committed + 1), never);
      const ids = recordsOfStream(copy, 's').map(({ pos }) => pos);
      assert.deepEqual(
        ids,
        Array.from({ length: committed + 1 }, (_, i) => recordAt(i + 1).position),
        `cut at ${size}`,
      );
    }
  });

  it('does not count a write whose bytes are not what was written, though its commit is there', async () => {
    const dir = await written();
    const bytes = readFileSync(newestOf(dir));
    bytes[bytes.lastIndexOf('{"key":') + 20] = 0; // a block that never reached the disk
    writeFileSync(newestOf(dir), bytes);
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    assert.deepEqual(writer.position, positionAt(2));
  });

  it('is not taken for one of ours where it is none', async () => {
    const dir = await written();
    copyFileSync(process.execPath, join(folderOf(dir), '0000000009.jsonl'));
    await assert.rejects(sinkIn(dir).openTablet(tabletOf('s'), never), (error) => isOfKind(error, 'refused'));
  });

  it('leaves no file for an opening that wrote nothing', async () => {
    const dir = await written();
    for (let i = 0; i < 5; i++) {
      const writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
      await writer[Symbol.asyncDispose]();
    }
    assert.equal(filesOf(dir).length, 2);
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    await writer.write(batches([recordAt(4)]), positionAt(4), never);
    assert.equal(recordsOfStream(dir, 's').length, 4);
  });

  it('is closed in time, also when nothing more comes', async () => {
    const dir = mkdtempSync(join(root, 'dir-'));
    await using writer = await sinkIn(dir, 1).openTablet(tabletOf('s'), never);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    const deadline = performance.now() + 10_000;
    while (filesOf(dir).length < 2 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(filesOf(dir).length, 2);
    await writer.write(batches([recordAt(2)]), positionAt(2), never);
    assert.deepEqual(
      recordsOfStream(dir, 's').map(({ ts }) => ts),
      [recordAt(1).timestampMs, recordAt(2).timestampMs],
    );
  });
});

describe('files that are published', () => {
  /** Three writers, each with two writes. */
  const written = async (dir: string): Promise<void> => {
    for (const index of [1, 3, 5]) {
      await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
      for (const at of [index, index + 1]) await writer.write(batches([recordAt(at)]), positionAt(at), never);
    }
  };

  it('say from which record to which they go, and hold nothing else', async () => {
    const dir = mkdtempSync(join(root, 'dir-'));
    await written(dir);
    writeFileSync(newestOf(dir), '{"key":{"id":7},"val', { flag: 'a' });
    assert.deepEqual(filesOf(dir), [
      '0000000001_3.1.0_3.2.0.jsonl',
      '0000000002_3.3.0_3.4.0.jsonl',
      '0000000003.jsonl.open',
    ]);
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    assert.deepEqual(writer.position, positionAt(6));
    assert.deepEqual(filesOf(dir).slice(2), ['0000000003_3.5.0_3.6.0.jsonl', '0000000004.jsonl.open']);
    for (const name of filesOf(dir).slice(0, 3)) {
      const lines = readFileSync(join(folderOf(dir), name), 'utf8').split('\n');
      assert.equal(lines.pop(), '');
      for (const line of lines) assert.ok(JSON.parse(line));
      assert.match(lines.at(-1)!, /^\{"commit":/);
    }
  });

  it('are all there when a tablet has ended: nobody opens it any more', async () => {
    const dir = mkdtempSync(join(root, 'dir-'));
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    await writer.write(batches([recordAt(1)]), positionAt(1), never);
    await writer.write(batches([recordAt(2, 2, { kind: 'schema' })]), { ...positionAt(2), ended: true }, never);
    assert.deepEqual(filesOf(dir), ['0000000001_3.1.0_3.2.0.jsonl', '0000000002.jsonl.open']);
  });

  it('may be moved away, all of them: where the tablet is stands in the one that is open', async () => {
    const dir = mkdtempSync(join(root, 'dir-'));
    await written(dir);
    for (const name of filesOf(dir)) if (name.endsWith('.jsonl')) rmSync(join(folderOf(dir), name));
    await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
    for (const name of filesOf(dir)) if (name.endsWith('.jsonl')) rmSync(join(folderOf(dir), name));
    assert.deepEqual(writer.position, positionAt(6));
    await writer.write(batches([recordAt(7)]), positionAt(7), never);
    assert.deepEqual(
      recordsOfStream(dir, 's').map(({ pos }) => pos),
      [recordAt(7).position],
    );
  });

  it('stand beside those of versions that knew one name alone', async () => {
    const dir = mkdtempSync(join(root, 'dir-'));
    await written(dir);
    for (const name of filesOf(dir)) {
      const bytes = readFileSync(join(folderOf(dir), name));
      rmSync(join(folderOf(dir), name));
      const plain = name.replace(/_.*|\.jsonl\.open$/, '.jsonl');
      // A file that had a successor was cut behind its last commit, and the newest may be torn.
      const isNewest = name.endsWith('.open');
      writeFileSync(
        join(folderOf(dir), plain),
        isNewest ? Buffer.concat([bytes, bytes.subarray(-200, -7)]) : bytes.subarray(0, -1),
      );
    }
    const wanted = [1, 2, 3, 4, 5, 6, 7, 8].map((index) => recordAt(index).position);
    for (const [index, count] of [[7, 2] as const, [8, 3] as const]) {
      await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
      assert.deepEqual(writer.position, positionAt(index - 1));
      await writer.write(batches([recordAt(index)]), positionAt(index), never);
      assert.equal(filesOf(dir).filter((name) => !/^\d+\.jsonl$/.test(name)).length, count - 1);
      assert.deepEqual(
        recordsOfStream(dir, 's').map(({ pos }) => pos),
        wanted.slice(0, index),
      );
      await using reader = new FileReader(dir, 's');
      const read: (string | null)[] = [];
      for await (const some of reader.read(reader.destinationOf('shop.orders'), never))
        read.push(...some.map(({ position }) => position));
      assert.deepEqual(read, wanted.slice(0, index));
    }
  });
});

describe('the reader of files', () => {
  it('reads what is committed of a table, and schemas by themselves', async () => {
    const dir = await written();
    {
      await using writer = await sinkIn(dir).openTablet(tabletOf('s'), never);
      const schema = recordAt(4, 4, { kind: 'schema' });
      const records = [
        schema,
        recordAt(5, 5, { table: 'other' }),
        recordAt(6, 6, { kind: 'tombstone', value: null, table: 'other' }),
      ];
      await writer.write(batches(records), positionAt(6), never);
    }
    await using reader = new FileReader(dir, 's');
    const read = async (destination: string): Promise<(string | null)[]> => {
      const seen: (string | null)[] = [];
      let last = -1n;
      for await (const some of reader.read(destination, never))
        for (const { position, value, place } of some) {
          assert.ok(place.order > last);
          last = place.order;
          seen.push(value === null ? null : position);
        }
      return seen;
    };
    assert.deepEqual(
      await read(reader.destinationOf('shop.orders')),
      [1, 2, 3].map((i) => recordAt(i).position),
    );
    assert.deepEqual(await read(reader.destinationOf('other')), [recordAt(5).position, null]);
    assert.deepEqual(await read(reader.schemaDestination), [recordAt(4).position]);
    assert.deepEqual(await read(reader.destinationOf('none')), []);

    for (let i = 10; i < 15; i++) {
      await using sink = sinkIn(dir); // each begins a file
      await using writer = await sink.openTablet(tabletOf('s'), never);
      await writer.write(batches([recordAt(i, 1)]), positionAt(i), never);
    }
    const newest: (string | null)[] = [];
    for await (const some of reader.read(reader.destinationOf('shop.orders'), never, 1))
      newest.push(...some.map(({ position }) => position));
    assert.deepEqual(
      newest,
      [13, 14].map((i) => recordAt(i, 1).position),
    );
  });
});
