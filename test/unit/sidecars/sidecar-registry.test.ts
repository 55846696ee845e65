import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SIDECAR_COLUMNS, SidecarRegistry } from '../../../src/sidecars/sidecar-registry.ts';
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
      return new SidecarRegistry(table, self, { kuduNow: Date.now, logger: keepingLogger(number === 1 ? lines : []) });
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

  for (const setByMs of [3_600_000, -3_600_000, 86_400_000, -20_000])
    it(`knows who lives where its machine's clock is off by ${setByMs / 1000} s, and is known to`, async (t) => {
      const table = new MemorySystemTable(SIDECAR_COLUMNS, 1);
      const { signal } = new AbortController();
      const realNow = Date.now.bind(Date);
      let laterMs = 0;
      const kuduNow = (): number => realNow() + laterMs;
      const registryOf = (id: string): SidecarRegistry =>
        new SidecarRegistry(
          table,
          { id, http: `${id}:8100`, tserver: `${id}:7050`, tserverUuid: id, version: '0' },
          { kuduNow, logger: keepingLogger() },
        );
      const [right, off] = [registryOf('right'), registryOf('off')];
      const alive = async (registry: SidecarRegistry): Promise<string[]> =>
        (await registry.list(signal)).filter(({ isAlive }) => isAlive).map(({ id }) => id);
      await right.beat(signal);
      t.mock.method(Date, 'now', () => realNow() + setByMs);
      await off.beat(signal);
      assert.deepEqual(await alive(off), ['off', 'right']);
      t.mock.restoreAll();
      assert.deepEqual(await alive(right), ['off', 'right']);
      laterMs = 16_000;
      await right.beat(signal);
      assert.deepEqual(await alive(right), ['right'], 'one that is silent is dead');
    });
});
