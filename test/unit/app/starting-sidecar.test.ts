import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartingSidecar } from '../../../src/app/starting-sidecar.ts';
import { SpoorError } from '../../../src/errors.ts';
import { memoryLooker } from '../../support/memory-status.ts';
import { MemoryControlPlane, tabletView } from '../../support/memory-control-plane.ts';

describe('a sidecar that starts', () => {
  it('says at which part it is that it is not at work yet', async () => {
    const sidecar = new StartingSidecar();
    sidecar.waitingFor({ part: 'wal', reason: 'SPOOR_WAL_DIR is of another server' });
    const { kudu, wal } = await sidecar.readiness();
    assert.deepEqual(wal, { ok: false, reason: 'SPOOR_WAL_DIR is of another server' });
    assert.deepEqual(kudu, { ok: false, reason: 'not looked at yet' });
  });

  it('ships nothing, answers no question and says why, until it is at work', async () => {
    const sidecar = new StartingSidecar();
    sidecar.waitingFor({ part: 'kudu', reason: 'no master answers' });
    assert.throws(
      () => sidecar.plane,
      (error) =>
        error instanceof SpoorError &&
        error.code === 'SPOOR_KUDU_UNAVAILABLE' &&
        error.message.includes('no master answers'),
    );
    assert.deepEqual([sidecar.localTablets('all'), sidecar.holds()], [[], []]);
    const plane = new MemoryControlPlane();
    assert.equal(sidecar.figures().kuduAnswers, false);
    const figures = { kuduAnswers: true, clockOffsetSeconds: 0, unattendedTservers: [] };
    const looker = memoryLooker(plane);
    sidecar.isAtWork({ plane, looker, holds: () => [], figures: () => figures });
    assert.equal(sidecar.looker, looker);
    assert.equal(sidecar.figures(), figures);
    assert.equal(sidecar.plane, plane);
    assert.deepEqual(sidecar.localTablets('all'), [tabletView()]);
    assert.deepEqual(await sidecar.readiness(), plane.health);
  });
});
