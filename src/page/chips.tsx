import type { TabletStateName, TabletView } from '../api/shapes.ts';
import { countStates, TONES } from './tablets.ts';
import { count } from './words.ts';

export function StateChip({ state, of }: { readonly state: TabletStateName; readonly of?: number }) {
  return (
    <span class={`chip chip-${TONES[state]}`}>
      {of !== undefined && <b>{count(of)}</b>} {state}
    </span>
  );
}

/** How many tablets are in which state. */
export function StateChips({ tablets }: { readonly tablets: readonly TabletView[] }) {
  if (tablets.length === 0) return <span class="quiet">no table matches yet</span>;
  return (
    <span class="chips">
      {countStates(tablets).map(([state, number]) => (
        <StateChip key={state} state={state} of={number} />
      ))}
    </span>
  );
}
