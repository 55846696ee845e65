import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Topic } from '../../../../src/sinks/kafka/cluster.ts';
import { placeKey } from '../../../../src/sinks/kafka/lanes/places.ts';
import { KafkaCodeError } from '../../../../src/sinks/kafka/wire/error-codes.ts';
import { UnsettledPlaces } from '../../../../src/sinks/kafka/lanes/unsettled-places.ts';

const never = new AbortController().signal;
const TOPICS = new Map<string, Topic>([
  ['s.a', { name: 's.a', id: null, leaders: [0, -1] }],
  ['s.b', { name: 's.b', id: null, leaders: [1] }],
]);
/** As the real one, which fails for all where one may not be described. */
const cluster = {
  findTopics: (names: readonly string[]): Promise<Map<string, Topic>> => {
    if (names.includes('s.secret')) return Promise.reject(new KafkaCodeError(29, 'topic s.secret'));
    return Promise.resolve(new Map(names.flatMap((name) => (TOPICS.has(name) ? [[name, TOPICS.get(name)!]] : []))));
  },
};

async function placesOf(unsettled: UnsettledPlaces, tablets: readonly string[]): Promise<Record<string, string[]>> {
  const places = await unsettled.of(tablets, never);
  return Object.fromEntries(Array.from(places, ([tablet, where]) => [tablet, where.map(placeKey)]));
}

describe('what a lane has not committed', () => {
  it('may be anywhere at first: an earlier process had its id', async () => {
    const unsettled = new UnsettledPlaces(cluster, () => ['s.secret', ...TOPICS.keys()]);
    const all = ['s.a/0', 's.a/1', 's.b/0'];
    assert.deepEqual(await placesOf(unsettled, ['x', 'y']), { x: all, y: all });
    unsettled.settled('x');
    assert.deepEqual(await placesOf(unsettled, ['x', 'y']), { y: all });
    unsettled.notCommitted(new Map([['s.b/0', new Set(['x', 'y'])]]));
    assert.deepEqual(await placesOf(unsettled, ['x', 'y']), { x: ['s.b/0'], y: all });
    unsettled.allSettled();
    assert.deepEqual(await placesOf(unsettled, ['x', 'y']), {});
  });

  it('is where it wrote, until that is seen to, for the tablets whose records it had', async () => {
    const unsettled = new UnsettledPlaces(cluster, () => ['s.secret', ...TOPICS.keys()]);
    unsettled.allSettled();
    unsettled.notCommitted(new Map([['s.a/1', new Set(['x', 'y'])], ['s.b/0', new Set(['x'])]])); // prettier-ignore
    assert.deepEqual(await placesOf(unsettled, ['x', 'y', 'z']), { x: ['s.a/1', 's.b/0'], y: ['s.a/1'] });
    unsettled.settled('x');
    assert.deepEqual(await placesOf(unsettled, ['x', 'y']), { y: ['s.a/1'] });
    unsettled.notCommitted(new Map([['s.gone/0', new Set(['z'])]]));
    assert.deepEqual(await placesOf(unsettled, ['z']), { z: [] }, 'its topic was deleted');
    unsettled.allSettled();
    assert.deepEqual(await placesOf(unsettled, ['y', 'z']), {});
  });
});
