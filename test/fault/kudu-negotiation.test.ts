import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { KuduError } from '../../src/kudu/errors.ts';
import { AnswerProxy } from '../support/answer-proxy.ts';
import { ScriptedKuduServer } from '../support/scripted-kudu-server.ts';

const ROUNDS = 150;

describe('a connection that Kudu breaks while it is negotiated', () => {
  it('is an error of whoever asked, wherever it breaks, and never ends the process', async () => {
    await using kudu = await ScriptedKuduServer.start();
    let afterChunks = 1;
    let waitMs = 0;
    const port = Number(kudu.address.split(':')[1]);
    await using proxy = await new AnswerProxy({ host: '127.0.0.1', port }, () => {
      let chunks = 0;
      return (bytes, client) => {
        client.write(bytes);
        if (++chunks === afterChunks) setTimeout(() => client.resetAndDestroy(), waitMs);
      };
    }).listen();
    for (let round = 0; round < ROUNDS; round++) {
      afterChunks = 1 + (round % 2);
      waitMs = (round >> 1) % 3;
      await assert.rejects(
        KuduClient.connect({ masters: [`127.0.0.1:${proxy.port}`], timeoutMs: 60 }),
        (error) => error instanceof KuduError,
      );
    }
    await sleep(50); // what comes late would be told of here
  });
});
