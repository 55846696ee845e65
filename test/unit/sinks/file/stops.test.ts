import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { TabletPosition } from '../../../../src/change/position.ts';
import type { SinkRecord } from '../../../../src/change/record.ts';
import { FileReader } from '../../../../src/sinks/file/file-reader.ts';
import { FileSink } from '../../../../src/sinks/file/file-sink.ts';
import type { Container } from '../../../../src/sinks/file/names.ts';
import { SinkError, type TabletWriter } from '../../../../src/sinks/sink.ts';
import { never, positionAt } from '../../../contract/sink-records.ts';
import { TabletLog } from '../../../contract/sink-sidecar.ts';
import { Random } from '../../../support/random.ts';
import { recordsOfFolder } from '../../../support/spoor-files.ts';
import { avroBatches, fromAvroText, indexOf } from '../../../support/avro-batches.ts';
import { form } from '../../../support/forms.ts';
import { countSteps, SteppedProcess } from '../../../support/stopped-steps.ts';

const root = mkdtempSync(join(tmpdir(), 'spoor-file-stops-'));
after(() => {
  rmSync(root, { recursive: true, force: true });
});

const STREAM = 's';
/** Operations that were there, one a write: for a process that begins a tablet, and for one that takes it over. */
const BEFORE = [0, 3];
/** So many more each process writes. */
const MORE = 4;
const CONTAINERS = ['lines', 'avro'] as const;
const STRIDE = form(7, 1);

/** A tablet's folder, and what of it must be true at any moment. */
class Folder {
  readonly container: Container;
  readonly dir = mkdtempSync(join(root, 'dir-'));
  readonly log = new TabletLog(STREAM);
  readonly path = join(this.dir, STREAM, 'i.first', this.log.tablet.tabletId);
  /** The last operation that was. */
  acknowledged = 0;
  readonly #written = new Map<TabletWriter, TabletPosition>();
  readonly #published = new Map<string, string>();

  constructor(container: Container) {
    this.container = container;
  }

  open(process: SteppedProcess): Promise<TabletWriter> {
    const rotateBytes = this.container === 'avro' ? 2048 : 1024;
    const sink = new FileSink({ dir: this.dir, rotateBytes, rotateSeconds: 60 }, 'i', this.container);
    return process.run(() => sink.openTablet(this.log.tablet, never));
  }

  /** Writes on behind what the writer has, an operation at a time. */
  async write(writer: TabletWriter, last: number, process = new SteppedProcess()): Promise<void> {
    let at = this.#written.get(writer) ?? writer.position;
    for (let index = Number(at?.opId.index ?? 0n) + 1; index <= last; index++) {
      const batches = this.log.batches(at, index);
      const written = this.container === 'avro' ? avroBatches(batches, versionOf) : batches;
      await process.run(() => writer.write(written, positionAt(index), never));
      at = positionAt(index);
      this.#written.set(writer, at);
      this.acknowledged = Math.max(this.acknowledged, index);
      this.look();
    }
  }

  /** What was published stays as it is, and holds records of operations that count. */
  look(): void {
    const names = readdirSync(this.path).filter((name) => /\.(jsonl|avro)$/.test(name));
    for (const [name, text] of this.#published)
      assert.equal(readFileSync(join(this.path, name), 'latin1'), text, `${name} has changed`);
    for (const name of names) this.#published.set(name, readFileSync(join(this.path, name), 'latin1'));
  }

  get sizes(): Map<string, number> {
    const names = readdirSync(this.path).filter((name) => /\.(open|journal)$/.test(name));
    return new Map(names.map((name) => [name, statSync(join(this.path, name)).size]));
  }

  /** What the newest files got since then may be there in part, or be something else, until it is acknowledged. */
  tear(before: ReadonlyMap<string, number>, random: Random): void {
    const after = this.sizes;
    const newest = Math.max(...[...after.keys()].map((name) => Number.parseInt(name)));
    for (const [name, now] of after) {
      const from = before.get(name) ?? (name.endsWith('.avro.open') ? 0 : now);
      if (Number.parseInt(name) !== newest || from === now) continue;
      const path = join(this.path, name);
      const size = from + random.next(now - from + 1);
      truncateSync(path, size);
      if (size === from || random.once(2)) continue;
      const bytes = readFileSync(path);
      bytes[from + random.next(size - from)] = random.next(256);
      writeFileSync(path, bytes);
    }
  }

  async assertHas(last: number): Promise<void> {
    this.look();
    const expected = this.log.expected(last).map(({ key, value, position }) => [key, value, position]);
    if (this.container === 'lines') this.#assertLines(expected);
    await using reader = new FileReader(this.dir, STREAM);
    const read: unknown[] = [];
    const textOf = this.container === 'avro' ? fromAvroText : (bytes: Buffer): string => bytes.toString();
    for await (const records of reader.read(reader.destinationOf('shop.orders'), never))
      for (const { key, value, position } of records) read.push([key && textOf(key), value && textOf(value), position]);
    assert.deepEqual(read, expected);
  }

  #assertLines(expected: unknown): void {
    assert.deepEqual(
      recordsOfFolder(this.path).map(({ key, value, pos }) => [key, value, pos]),
      expected,
    );
    for (const name of readdirSync(this.path)) {
      const [, first, end] = /^\d+_(.+)_(.+)\.jsonl$/.exec(name) ?? [];
      if (first === undefined) continue;
      const lines = readFileSync(join(this.path, name), 'utf8').split('\n');
      const at = lines
        .filter((line) => line.startsWith('{"key"'))
        .map((line) => (JSON.parse(line) as { pos: string }).pos);
      assert.deepEqual(
        [at[0], at.at(-1)],
        [first, end].map((text) => `${this.log.tablet.tabletId}/${text}`),
      );
      assert.match(lines.at(-2)!, /^\{"commit":/);
      assert.equal(lines.at(-1), '');
    }
  }
}

/** Every other operation finds the table altered. */
function versionOf(record: SinkRecord): number {
  return indexOf(record) >> 1;
}

/** A folder as a process left it that has died. */
async function folderWith(before: number, container: Container): Promise<Folder> {
  const folder = new Folder(container);
  if (before === 0) return folder;
  await using writer = await folder.open(new SteppedProcess());
  await folder.write(writer, before);
  return folder;
}

/** How many steps a process takes that opens the tablet and writes. */
async function stepsOf(before: number, container: Container): Promise<number> {
  const folder = await folderWith(before, container);
  const process = new SteppedProcess();
  await using writer = await folder.open(process);
  await folder.write(writer, before + MORE, process);
  return process.steps;
}

for (const [before, container] of BEFORE.flatMap((before) =>
  CONTAINERS.map((container) => [before, container] as const),
)) {
  const [first, second, third] = [1, 2, 3].map((times) => before + times * MORE) as [number, number, number];
  describe(`a writer of files of ${container} that stops before any of its steps, with ${before} writes there`, () => {
    it('and dies: the next goes on behind what was acknowledged, and publishes what was left', async (t) => {
      countSteps(t);
      const steps = await stepsOf(before, container);
      for (let step = 1; step <= steps; step += STRIDE) {
        const folder = await folderWith(before, container);
        const process = new SteppedProcess(step);
        let sizes: ReadonlyMap<string, number> | null = null;
        let writer: TabletWriter | null = null;
        try {
          writer = await folder.open(process);
          for (let last = before + 1; last <= first; last++) {
            sizes = folder.sizes;
            await folder.write(writer, last, process);
          }
        } catch (error) {
          if (!process.hasStopped) throw error;
        }
        await writer?.[Symbol.asyncDispose]();
        if (sizes) folder.tear(sizes, new Random(step));
        {
          await using next = await folder.open(new SteppedProcess());
          const found = Number(next.position?.opId.index ?? 0n);
          assert.ok(found >= folder.acknowledged && found <= folder.acknowledged + 1, `step ${step}: ${found}`);
          assert.equal(folder.sizes.size, 1, `step ${step}: its own file alone is open`);
          await folder.write(next, second);
        }
        await folder.assertHas(second);
      }
    });

    it('and sleeps, while another takes over: it is shut out, whatever it does then', async (t) => {
      countSteps(t);
      const steps = await stepsOf(before, container);
      for (let step = 1; step <= steps; step += STRIDE) {
        const folder = await folderWith(before, container);
        const sleeper = new SteppedProcess(step, 'sleeps');
        let writer: TabletWriter | null = null;
        const life = (async () => {
          writer = await folder.open(sleeper);
          await folder.write(writer, first, sleeper);
        })();
        const ended = life.catch((error: unknown) => error);
        await Promise.race([sleeper.asleep, ended]);
        await using next = await folder.open(new SteppedProcess());
        if (step % 2 === 0) await folder.write(next, second - 1);
        sleeper.wake();
        const error = await ended;
        assert.ok(error === undefined || isFenced(error), `step ${step}: ${String(error)}`);
        // It may have been through with its last write but for saying so; or it has claimed the tablet last, and is right.
        const refusal = await folder.write(next, second).catch((reason: unknown) => reason);
        assert.ok(
          refusal === undefined || (isFenced(refusal) && error === undefined),
          `step ${step}: ${String(refusal)}`,
        );
        await folder.assertHas(folder.acknowledged);
        await (writer as TabletWriter | null)?.[Symbol.asyncDispose]();
        await using last = await folder.open(new SteppedProcess());
        await folder.write(last, third);
        await folder.assertHas(third);
      }
    });
  });
}

function isFenced(error: unknown): boolean {
  return error instanceof SinkError && error.kind === 'fenced';
}
