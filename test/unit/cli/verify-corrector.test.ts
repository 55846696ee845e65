import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CliError, RefusedError } from '../../../src/cli/cli-error.ts';
import { ApiCorrector } from '../../../src/cli/verify-corrector.ts';
import { MemoryTables } from '../../support/memory-verify.ts';

const VIEW = new MemoryTables().view(['*']);
const KEYS = [Buffer.from('a'), Buffer.from([0xff]), Buffer.from('c')];

/** With an API that answers this, or throws it. */
function corrector(answer: unknown): ApiCorrector {
  const call = (): Promise<unknown> => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer));
  return new ApiCorrector({ call }, 's', () => Promise.resolve(VIEW));
}

describe('rows that are to be put right', () => {
  it('are asked for by their tablet and keys', async () => {
    const calls: unknown[] = [];
    const call = (...args: readonly unknown[]): Promise<unknown> => {
      calls.push(args);
      return Promise.resolve({ ...VIEW, correction: 'c1' });
    };
    const asked = await new ApiCorrector({ call }, 's', () => Promise.resolve(VIEW)).request('t', KEYS);
    assert.deepEqual(asked, { kind: 'taken', id: 'c1' });
    const body = { tablets: ['t'], keys: ['YQ==', '/w==', 'Yw=='] };
    assert.deepEqual(calls, [['POST', '/v1/streams/s/resync', body]]);
  });

  it('are refused by their places', async () => {
    const error = new RefusedError('Bad Request (400)', [
      { path: 'keys[1]', message: 'is no key that the table can have' },
      { path: 'keys[2]', message: 'belongs to tablet u' },
    ]);
    const reasons = new Map([
      [1, 'is no key that the table can have'],
      [2, 'belongs to tablet u'],
    ]);
    assert.deepEqual(await corrector(error).request('t', KEYS), { kind: 'refused', reasons });
  });

  it('are all refused where the tablet is, or the request as a whole', async () => {
    const error = new RefusedError('Bad Request (400)', [{ path: 'tablets[0]', message: 'stream s has no tablet t' }]);
    const answer = await corrector(error).request('t', KEYS);
    assert.deepEqual(
      answer.kind === 'refused' && [...answer.reasons],
      [0, 1, 2].map((place) => [place, 'tablets[0]: stream s has no tablet t']),
    );
  });

  it('fail with what the sidecar says where it blames nothing in the request', async () => {
    const refused = new RefusedError('Bad Request (400)', []);
    await assert.rejects(corrector(refused).request('t', KEYS), refused);
    const failed = new CliError(1, 'Not Found (404)');
    await assert.rejects(corrector(failed).request('t', KEYS), failed);
    await assert.rejects(corrector(VIEW).request('t', KEYS), { message: /too old/ });
  });
});
