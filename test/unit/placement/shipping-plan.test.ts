import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planShipping, type Beginning } from '../../../src/placement/shipping-plan.ts';

type State = 'idle' | 'runs' | 'runs, its tablet dropped' | 'stops';
type Want = 'not wanted' | 'wanted' | 'wanted with a resync' | 'wanted as the speaker';

const PLAIN: Beginning = { asked: 'g//', schemas: 'none' };
const WANTS: Readonly<Record<Want, Beginning | null>> = {
  'not wanted': null,
  wanted: PLAIN,
  'wanted with a resync': { ...PLAIN, asked: 'g/r/' },
  'wanted as the speaker': { ...PLAIN, schemas: 'takes-over' },
};
/** A cell that is missing does not compile. */
const TABLE: Readonly<Record<State, Readonly<Record<Want, string>>>> = {
  idle: { 'not wanted': '', wanted: 'start', 'wanted with a resync': 'start', 'wanted as the speaker': 'start' },
  runs: {
    'not wanted': 'stop: not-ours',
    wanted: '',
    'wanted with a resync': 'stop: begins-anew',
    'wanted as the speaker': 'stop: begins-anew',
  },
  'runs, its tablet dropped': {
    'not wanted': '',
    wanted: '',
    'wanted with a resync': 'stop: begins-anew',
    'wanted as the speaker': 'stop: begins-anew',
  },
  stops: { 'not wanted': '', wanted: '', 'wanted with a resync': '', 'wanted as the speaker': '' },
};

describe('what is shipped', () => {
  for (const [state, row] of Object.entries(TABLE))
    for (const [want, expected] of Object.entries(row))
      it(`${state}, ${want}: ${expected || 'stays so'}`, () => {
        const beginning = WANTS[want as Want];
        const isRunning = state.startsWith('runs');
        const running = new Map(isRunning ? [['k', PLAIN]] : []);
        const wanted = new Map(beginning ? [['k', beginning]] : []);
        const steps = planShipping(wanted, running, new Set(state === 'stops' ? ['k'] : []), () => state === 'runs');
        const said = steps.map((step) => (step.kind === 'stop' ? `stop: ${step.why}` : step.kind));
        assert.equal(said.join(), expected);
      });
});
