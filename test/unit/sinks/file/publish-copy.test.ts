import assert from 'node:assert/strict';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { WorkDir } from '../../../../src/demo/work-dir.ts';
import { Steps } from '../../../../src/sinks/file/disk.ts';
import { beginLine } from '../../../../src/sinks/file/lines.ts';
import { Copy } from '../../../../src/sinks/file/publish-copy.ts';
import { SinkError } from '../../../../src/sinks/sink.ts';

const { signal } = new AbortController();

/** Does something before one of its steps. */
class StepsWith extends Steps {
  taken = 0;
  readonly #at: number;
  readonly #work: () => Promise<void>;

  constructor(at: number, work: () => Promise<void>) {
    super(signal);
    this.#at = at;
    this.#work = work;
  }

  override async take<T>(work: () => Promise<T>): Promise<T> {
    if (++this.taken === this.#at) await this.#work();
    return super.take(work);
  }
}

describe('a copy of what a dead writer has left', { timeout: 60_000 }, () => {
  const record = (row: number): string =>
    `{"key":{},"value":${JSON.stringify('x'.repeat(600_000))},"pos":"t/1.${row}.0","ts":1}\n`;
  const begin = { begin: 1, stream: 's', tablet: 't', table: 'orders', previous: null, position: null };
  const content = Buffer.from(beginLine(begin) + [1, 2, 3, 4, 5].map(record).join(''));

  for (const [what, lost] of [
    ['lines', 1_500_000],
    ['lines', content.length - 2],
    ['data', 1_500_000],
    ['data', content.length - 1],
  ] as const)
    it(`is published whole or not at all, when the disk loses what is behind ${lost} before any step: ${what}`, async () => {
      await using dir = await WorkDir.create('spoor-test-copy');
      const path = join(dir.path, 'left');
      let isOver = false;
      for (let at = 1, refused = 0; !isOver; at++) {
        await writeFile(path, content);
        const steps = new StepsWith(at, () => truncate(path, lost));
        const copy = new Copy(dir.path, join(dir.path, 'draft'));
        const span = { first: 't/1.1.0', last: 't/1.5.0' };
        const copying =
          what === 'lines'
            ? copy.lines(path, { number: 1, part: 0, container: 'lines' }, content.length - 1, steps)
            : copy.data(
                { file: 'left', from: 0, bytes: content.length, crc: 0, ...span },
                { number: 1, part: 0, container: 'avro' },
                steps,
              );
        const error: unknown = await copying.then(
          () => null,
          (thrown: unknown) => thrown,
        );
        const published = (await readdir(dir.path)).filter((name) => name !== 'left');
        if (error === null) {
          assert.equal(published.length, 1);
          assert.ok((await readFile(join(dir.path, published[0]!))).equals(content), `step ${at}`);
        } else {
          assert.ok(error instanceof SinkError && error.kind === 'refused', 'it ended otherwise');
          assert.match(error.message, /has lost \d+ bytes that were committed/);
          assert.deepEqual(published, []);
          refused++;
        }
        for (const name of published) await rm(join(dir.path, name));
        isOver = steps.taken < at;
        if (isOver) assert.ok(refused > 3, `refused ${refused} times`);
      }
    });
});
