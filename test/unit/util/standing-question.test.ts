import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StandingQuestion } from '../../../src/util/standing-question.ts';
import { steadyNow } from '../../../src/util/steady-clock.ts';

describe('a standing question', () => {
  it('is answered although nobody waits for as long as an answer takes, and says since when that may be untrue', async () => {
    const question = new StandingQuestion<string>(10_000);
    let asked = 0;
    const slow = async (): Promise<string> => {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 120));
      return 'the answer';
    };
    const startMs = steadyNow();
    let inVain = 0;
    for (;;) {
      const told = await question.ask(slow, AbortSignal.timeout(50)).catch(() => null);
      if (told === null) {
        inVain++;
        continue;
      }
      assert.equal(told.answer, 'the answer');
      assert.ok(told.askedAtMs - startMs < 50 && steadyNow() - told.askedAtMs >= 100);
      break;
    }
    assert.ok(inVain >= 1 && asked === 1, `${inVain} in vain, asked ${asked} times`);
    await question.ask(slow, AbortSignal.timeout(1000));
    assert.equal(asked, 2, 'an answer is given once');
  });

  it('is asked anew where it failed, or took longer than it may', async () => {
    const question = new StandingQuestion<number>(30);
    await assert.rejects(
      question.ask(() => Promise.reject(new Error('no')), AbortSignal.timeout(1000)),
      /no/,
    );
    const never = (signal: AbortSignal): Promise<number> =>
      new Promise((_, reject) => {
        const keepsAlive = setTimeout(() => undefined, 1000); // the time-out alone does not
        signal.addEventListener('abort', () => {
          clearTimeout(keepsAlive);
          reject(new Error('too long'));
        });
      });
    await assert.rejects(question.ask(never, AbortSignal.timeout(1000)), /too long/);
    assert.equal((await question.ask(() => Promise.resolve(3), AbortSignal.timeout(1000))).answer, 3);
  });
});
