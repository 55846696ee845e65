import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LocalReplica } from '../../../src/keeping/local-replica.ts';
import { ReplicaList } from '../../../src/placement/replica-list.ts';

const FOREVER = new AbortController().signal;

function replica(tabletId: string, isRunning = true): LocalReplica {
  return { tabletId, isRunning, isLeader: false, leaderUuid: null, voterUuids: [] };
}

/** A tablet server that answers when it is told to. */
class Asked {
  questions = 0;
  listed = 0;
  news = 0;
  readonly list = new ReplicaList(
    {
      listReplicas: () => {
        this.questions++;
        return new Promise((resolve, reject) => {
          this.#answer = (answer) => {
            if (answer instanceof Error) reject(answer);
            else resolve(answer);
          };
        });
      },
    },
    (isNews) => {
      this.listed++;
      if (isNews) this.news++;
    },
  );
  #answer: (answer: readonly LocalReplica[] | Error) => void = () => undefined;

  async answer(answer: readonly LocalReplica[] | Error): Promise<void> {
    this.#answer(answer);
    await new Promise(setImmediate);
  }
}

function running({ list }: Asked): string[] {
  return list.all.filter(({ isRunning }) => isRunning).map(({ tabletId }) => tabletId);
}

describe('the replicas of a tablet server', () => {
  it('are asked for once, however many want to know', async () => {
    const asked = new Asked();
    const both = Promise.all([asked.list.ask(FOREVER), asked.list.ask(FOREVER)]);
    await asked.answer([replica('a'), replica('b', false)]);
    await both;
    assert.deepEqual([asked.questions, asked.listed, asked.list.all.length], [1, 1, 2]);
    assert.deepEqual(running(asked), ['a']);
  });

  it('are asked for once more where there was news meanwhile, whatever became of the first question', async () => {
    for (const first of [[replica('a')], new Error('it was stopped')]) {
      const asked = new Asked();
      const before = asked.list.ask(FOREVER);
      before.catch(() => undefined);
      const news = Promise.all([asked.list.askAnew(FOREVER), asked.list.askAnew(FOREVER)]);
      await asked.answer(first);
      assert.equal(asked.questions, 2, 'one question for all of the news');
      await asked.answer([replica('b')]);
      await news;
      assert.deepEqual(running(asked), ['b']);
    }
  });

  it('stay as they were when the server does not answer, and when nobody wants to know any more', async () => {
    const asked = new Asked();
    const first = asked.list.ask(FOREVER);
    await asked.answer([replica('a')]);
    await first;
    const failed = assert.rejects(asked.list.ask(FOREVER), /away/);
    await asked.answer(new Error('it is away'));
    await failed;
    const ended = new AbortController();
    const late = asked.list.ask(ended.signal);
    ended.abort();
    await asked.answer([]);
    await late;
    await asked.list.askAnew(ended.signal);
    assert.deepEqual([running(asked), asked.listed, asked.questions], [['a'], 1, 3]);
  });
});
