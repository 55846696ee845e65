import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unattendedServers } from '../../../src/placement/unattended-servers.ts';

const REPLICAS = [
  { tabletId: 'streamed-1', voterUuids: ['here', 'dead', 'alive'] },
  { tabletId: 'streamed-2', voterUuids: ['here', 'dead', 'away'] },
  { tabletId: 'of no stream', voterUuids: ['here', 'of no concern'] },
  { tabletId: 'streamed-3', voterUuids: [] },
];
const STREAMED = new Set(['streamed-1', 'streamed-2', 'streamed-3']);

describe('tablet servers without a sidecar', () => {
  it('are those of streamed tablets alone, each once', () => {
    const attended = new Set(['here', 'alive']);
    assert.deepEqual(
      unattendedServers(REPLICAS, STREAMED, (uuid) => attended.has(uuid)),
      ['away', 'dead'],
    );
  });

  it('are none where each has one, or nothing is streamed', () => {
    assert.deepEqual(
      unattendedServers(REPLICAS, STREAMED, () => true),
      [],
    );
    assert.deepEqual(
      unattendedServers(REPLICAS, new Set(), () => false),
      [],
    );
  });
});
