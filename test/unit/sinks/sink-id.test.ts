import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareSinkIds, formatSinkId, latestSinkId, parseSinkId, type SinkId } from '../../../src/sinks/sink-id.ts';

const STORE = 'kafka:MkU3OEVBNTcwNTJENDM2Qk';
const OLD = `${STORE}/cdc.shop.orders@xV4sa38HQPyyNAHVbVq3iw`;
const NEW = `${STORE}/cdc.shop.orders@-lOAPGVHQe_Atw1omyWguA`;
const RENAMED = `${STORE}/cdc.shop.sales@0lOAPGVHQe-Atw1omyWguA`;
const ELSEWHERE = 'kafka:c3Bvb3ItdGVzdC1rYWZrYQ/cdc.shop.orders@xV4sa38HQPyyNAHVbVq3iw';

describe('a sink id', () => {
  for (const [text, id] of [
    [STORE, { store: STORE }],
    [OLD, { store: STORE, topic: { name: 'cdc.shop.orders', id: 'xV4sa38HQPyyNAHVbVq3iw' } }],
    ['', { store: '' }],
    ['a/b/c@d', { store: 'a/b', topic: { name: 'c', id: 'd' } }],
  ] as [string, SinkId][])
    it(`is read as it was written: ${text}`, () => {
      assert.deepEqual(parseSinkId(text), id);
      assert.equal(formatSinkId(id), text);
    });

  it('of a form that is not ours is a store alone', () => {
    for (const text of ['a/b', 'a/@c', 'a/b@', 'a@b', 'a/b@c@d']) assert.deepEqual(parseSinkId(text), { store: text });
  });
});

describe('two sink ids', () => {
  for (const [before, now, relation, why] of [
    [OLD, OLD, 'same', 'the same topic'],
    [STORE, STORE, 'same', 'the same store, and neither knows the topic'],
    [OLD, NEW, 'topic-made-anew', 'the name is the same, the topic is not'],
    [STORE, NEW, 'unknown', 'a marker of before topics had ids'],
    [OLD, STORE, 'unknown', 'the topic is not there, or not told'],
    [OLD, RENAMED, 'unknown', 'the table was renamed, and goes to another topic'],
    ['', NEW, 'unknown', 'a marker that does not say'],
    [OLD, '', 'unknown', 'a sink that does not say'],
    [OLD, ELSEWHERE, 'other-store', 'another cluster, whatever the topic is called'],
    [STORE, ELSEWHERE, 'other-store', 'another cluster'],
    [ELSEWHERE, STORE, 'other-store', 'another cluster, of which less is known'],
  ] as const)
    it(`are ${relation}: ${why}`, () => {
      assert.equal(compareSinkIds(before, now), relation);
    });

  for (const [before, now, latest, why] of [
    [OLD, NEW, NEW, 'the newer'],
    [OLD, RENAMED, RENAMED, 'the newer'],
    [STORE, OLD, OLD, 'what tells more'],
    ['', STORE, STORE, 'what tells more'],
    [OLD, STORE, OLD, 'not what tells less of the same store: the topic may come back as another'],
    [OLD, '', OLD, 'not what tells nothing'],
    [ELSEWHERE, STORE, STORE, 'another store, although less is known of it'],
  ] as const)
    it(`leave, of ${before || 'nothing'} and ${now || 'nothing'}, ${why}`, () => {
      assert.equal(latestSinkId(before, now), latest);
    });
});
