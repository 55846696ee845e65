import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AckedTrail } from '../../../../src/sinks/kafka/acked-trail.ts';
import { positionAt } from '../../../contract/sink.ts';

const epoch = (number: number) => ({ producerId: 7n, epoch: number });

describe('what was acknowledged and is not said in Kafka', () => {
  it('goes from writer to writer, also over openings that came to nothing', () => {
    const trail = new AckedTrail();
    trail.opened(epoch(4));
    assert.equal(trail.beyond(positionAt(1), epoch(4)), null, 'nothing yet');
    trail.acked(positionAt(5), epoch(4));
    trail.opened(epoch(5));
    trail.opened(epoch(6));
    assert.deepEqual(trail.beyond(positionAt(1), epoch(6)), positionAt(5));
    assert.deepEqual(trail.beyond(null, epoch(6)), positionAt(5));
    assert.equal(trail.beyond(positionAt(5), epoch(6)), null, 'Kafka says so by now');
    assert.equal(trail.beyond(positionAt(1), epoch(5)), null, 'to the newest of them alone');
  });

  it('ends where somebody else may have come between', () => {
    const trail = new AckedTrail();
    trail.opened(epoch(4));
    trail.acked(positionAt(5), epoch(4));
    trail.opened(epoch(6));
    assert.equal(trail.beyond(positionAt(1), epoch(6)), null);
    trail.acked(positionAt(3), epoch(6));
    trail.opened({ producerId: 8n, epoch: 7 });
    assert.equal(trail.beyond(positionAt(1), { producerId: 8n, epoch: 7 }), null, 'of another producer');
  });
});
