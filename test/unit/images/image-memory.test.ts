import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImageMemories, ImageMemory } from '../../../src/images/image-memory.ts';

const ROW = Buffer.alloc(1000);

function fill(memory: ImageMemory, count: number): void {
  for (let i = 0; i < count; i++) memory.set(String(i), ROW);
}

function count(memory: ImageMemory): number {
  return Array.from({ length: 100 }, (_, i) => memory.get(String(i))).filter((image) => image !== undefined).length;
}

describe('memory of rows', () => {
  it('is of the tablets that use it: what an idle one keeps of it goes first', () => {
    const memories = new ImageMemories(25_000);
    const [idle, other, busy] = [new ImageMemory(memories), new ImageMemory(memories), new ImageMemory(memories)];
    fill(idle, 15);
    fill(other, 5);
    fill(busy, 12);
    assert.equal(count(busy), 12);
    assert.equal(count(other), 5);
    assert.ok(count(idle) < 15 && memories.bytes <= 25_000);
    fill(other, 6);
    fill(busy, 20);
    assert.deepEqual([count(idle), count(busy)], [0, 20], 'an idle one keeps nothing');
    assert.ok(count(other) > 0, 'and the next has less');
    fill(busy, 60);
    assert.equal(count(other), 0);
    assert.ok(count(busy) >= 20 && memories.bytes <= 25_000, 'one alone has all of it, and no more');
    busy.close();
    fill(busy, 3);
    assert.equal(memories.bytes, 0);
  });
});
