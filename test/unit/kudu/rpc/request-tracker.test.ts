import assert from 'node:assert/strict';
import { it } from 'node:test';
import { RequestTracker } from '../../../../src/kudu/rpc/request-tracker.ts';

it('keeps a request under one number through its attempts, and says which is the oldest still open', () => {
  const tracker = new RequestTracker();
  const [first, second, third] = [tracker.begin(), tracker.begin(), tracker.begin()];
  assert.deepEqual(idOf(first.nextAttempt()), [0n, 0n, 0n]);
  assert.deepEqual(idOf(first.nextAttempt()), [0n, 0n, 1n]);
  second.done();
  first.done();
  assert.deepEqual(idOf(third.nextAttempt()), [2n, 2n, 0n]);
  assert.equal(third.nextAttempt().clientId, tracker.clientId);
  assert.notEqual(new RequestTracker().clientId, tracker.clientId);
});

function idOf(id: { seqNo: bigint; firstIncompleteSeqNo: bigint; attemptNo: bigint }): readonly bigint[] {
  return [id.seqNo, id.firstIncompleteSeqNo, id.attemptNo];
}
