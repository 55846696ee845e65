import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LastAnswers } from '../../../src/placement/last-answers.ts';
import type { StoredStream, StreamSource } from '../../../src/streams/stored-stream.ts';
import type { Catalog } from '../../../src/streams/table-catalog.ts';

const FOREVER = new AbortController().signal;
const STREAM = { definition: { name: 's' } } as StoredStream;

/** Spoor's tables, a master and sidecars, each of which answers or fails as it is told. */
class Cluster {
  streams: readonly StoredStream[] | Error = [];
  sidecars: Error | null = null;
  master: Error | null = null;
  unreadable: readonly string[] = [];
  readonly refreshed: (readonly string[])[] = [];
  readonly answers = new LastAnswers({
    streams: this.#source(),
    catalog: {
      refresh: (tabletIds: readonly string[]) => {
        this.refreshed.push(tabletIds);
        return this.master ? Promise.reject(this.master) : Promise.resolve();
      },
    } as unknown as Catalog,
    askOthers: () => (this.sidecars ? Promise.reject(this.sidecars) : Promise.resolve()),
  });

  look(...tabletIds: string[]): Promise<void> {
    return this.answers.look(() => tabletIds, FOREVER);
  }

  #source(): StreamSource {
    const list = () => (this.streams instanceof Error ? Promise.reject(this.streams) : Promise.resolve(this.streams));
    const unreadable = () => this.unreadable;
    return {
      list,
      get unreadable() {
        return unreadable();
      },
    } as unknown as StreamSource;
  }
}

describe('what is known of streams and tables', () => {
  it('may be streams until they were listed once, and is no ground to let go of anything', async () => {
    const cluster = new Cluster();
    const { answers } = cluster;
    cluster.streams = new Error('no leader');
    await cluster.look('t');
    assert.deepEqual([answers.streams, answers.mayHaveStreams, answers.isSure], [null, true, false]);
    assert.match(String(answers.unanswered), /no leader/);
    cluster.streams = [];
    await cluster.look('t');
    assert.deepEqual([answers.streams, answers.mayHaveStreams, answers.isSure], [[], false, true]);
    assert.deepEqual(cluster.refreshed, [], 'no stream wants to know of tables');
  });

  it('is the last answer where there is none, and says that it is', async () => {
    const cluster = new Cluster();
    const { answers } = cluster;
    cluster.streams = [STREAM];
    await cluster.look('t');
    assert.deepEqual([answers.isSure, answers.unanswered, cluster.refreshed], [true, null, [['t']]]);
    for (const [what, trouble] of [
      ['streams', { streams: new Error('away') }],
      ['sidecars', { sidecars: new Error('away') }],
      ['master', { master: new Error('away') }],
    ] as const) {
      Object.assign(cluster, { streams: [STREAM], sidecars: null, master: null, ...trouble });
      await cluster.look('t');
      assert.deepEqual([answers.streams, answers.isSure], [[STREAM], false], what);
      assert.match(String(answers.unanswered), /away/, what);
    }
    cluster.master = null;
    await cluster.look('t');
    assert.equal(answers.isSure, true);
    answers.noteUnanswered(new Error('of the same look'));
    assert.equal(answers.isSure, false);
  });

  it('is not enough beside a stream that this version cannot read', async () => {
    const cluster = new Cluster();
    cluster.unreadable = ['newer'];
    await cluster.look('t');
    const { answers } = cluster;
    assert.deepEqual([answers.mayHaveStreams, answers.isSure, answers.unanswered], [true, false, null]);
    assert.deepEqual(cluster.refreshed, [['t']]);
  });

  it('is asked for no longer when the look is over', async () => {
    const cluster = new Cluster();
    cluster.streams = new Error('away');
    const over = AbortSignal.abort(new Error('the look is over'));
    await assert.rejects(
      cluster.answers.look(() => [], over),
      /the look is over/,
    );
  });
});
