import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SIDECAR_COLUMNS, SidecarRegistry } from '../../../src/cluster/sidecar-registry.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';

describe('the registry of sidecars', () => {
  it('tells once of another living sidecar that is called by the same address, and of none that has left', async () => {
    const table = new MemorySystemTable(SIDECAR_COLUMNS, 1);
    const lines: LogLine[] = [];
    const { signal } = new AbortController();
    const registryOf = (number: number, http: string): SidecarRegistry => {
      const tserver = `node-${number}:7050`;
      const self = { id: `u${number}`, http, tserver, tserverUuid: `u${number}`, version: '0' };
      return new SidecarRegistry(table, self, keepingLogger(number === 1 ? lines : []));
    };
    const [first, second, third] = [registryOf(1, 'a:8100'), registryOf(2, 'b:8100'), registryOf(3, 'a:8100')];
    for (const each of [first, second]) await each.beat(signal);
    await first.tellNamesakes(signal);
    assert.equal(lines.length, 0);

    await third.beat(signal);
    for (let looks = 0; looks < 3; looks++) await first.tellNamesakes(signal);
    const [told, ...more] = lines;
    assert.deepEqual([told?.level, told?.fields, more], ['error', { http: 'a:8100', others: 'u3 (node-3:7050)' }, []]);
    assert.match(told!.message, /SPOOR_HTTP_ADVERTISE/);

    await third.leave(signal);
    await first.tellNamesakes(signal);
    await third.beat(signal);
    await first.tellNamesakes(signal);
    assert.equal(lines.length, 2, 'it is told again when it comes again');
  });
});
