/**
 * Makes the dashboards of deploy/grafana/: `npm run generate:dashboards` writes them.
 * test/unit/deploy/grafana.test.ts holds the files against what this makes.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath, URL } from 'node:url';
import { fleet } from './grafana/fleet.mjs';
import { stream } from './grafana/stream.mjs';
import { tablet } from './grafana/tablet.mjs';

const made = Object.entries({ fleet, stream, tablet }).map(([name, dashboard]) => [
  `${name}.json`,
  `${JSON.stringify(dashboard, null, 1)}\n`,
]);

/** The text of each dashboard, by the name of its file in deploy/grafana/. */
export const DASHBOARDS = Object.fromEntries(made);

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [name, text] of made) writeFileSync(new URL(`../deploy/grafana/${name}`, import.meta.url), text);
