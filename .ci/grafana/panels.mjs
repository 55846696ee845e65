/** What the dashboards are made of. Panels are given row by row, and where each stands comes of that. */

/** The last of this form of dashboards: Grafana 12 is of it, 13 reads it, and 11 takes it for its own. */
const SCHEMA_VERSION = 42;
const COLUMNS = 24;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

const STATE_COLORS = {
  running: 'green',
  paused: 'blue',
  starting: 'light-blue',
  'base-copy': 'purple',
  resync: 'dark-purple',
  stalled: 'yellow',
  blocked: 'red',
  gap: 'dark-red',
};

/** Where one leads to another: by the dashboard's uid, with what is chosen carried along. */
export const linkTo = {
  stream: (label) => ({
    title: `Stream \${__field.labels.${label}}`,
    url: `/d/spoor-stream?\${datasource:queryparam}&var-stream=\${__field.labels.${label}}&\${__url_time_range}`,
  }),
  tablet: {
    title: 'Tablet ${__field.labels.tablet}',
    url: '/d/spoor-tablet?${datasource:queryparam}&var-stream=${__field.labels.stream}&var-tablet=${__field.labels.tablet}&${__url_time_range}',
  },
};

/** @param expr PromQL, or several with the legend of each as [expr, legend] */
function panel(type, title, expr, options = {}) {
  const {
    unit = 'short',
    legend = '',
    width,
    height = 8,
    description,
    links,
    thresholds,
    max,
    stack,
    fields,
  } = options;
  const asked = Array.isArray(expr) ? expr : [[expr, legend]];
  const instant = type === 'stat' || type === 'table';
  return {
    width,
    height,
    type,
    title,
    ...(description && { description }),
    datasource: DATASOURCE,
    targets: asked.map(([text, legendFormat], index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: DATASOURCE,
      expr: text,
      legendFormat: legendFormat || '__auto',
      ...(type === 'table' && { format: 'table' }),
      instant,
      range: !instant,
    })),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max !== undefined && { max }),
        ...(links && { links }),
        ...(type === 'timeseries' && {
          custom: {
            fillOpacity: stack ? 60 : 5,
            showPoints: 'never',
            stacking: { mode: stack ? 'normal' : 'none', group: 'A' },
          },
        }),
        ...(thresholds && { thresholds: { mode: 'absolute', steps: thresholds }, color: { mode: 'thresholds' } }),
      },
      overrides: fields ?? [],
    },
    options: optionsOf(type, legend),
  };
}

function optionsOf(type, legend) {
  if (type === 'timeseries')
    return { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } };
  if (type === 'stat')
    return {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      textMode: legend === '' ? 'auto' : 'name',
      colorMode: 'background',
      graphMode: 'none',
    };
  return { showHeader: true, sortBy: [] };
}

export const stat = (title, expr, options) => panel('stat', title, expr, { height: 4, ...options });
export const chart = (title, expr, options) => panel('timeseries', title, expr, options);
export const table = (title, expr, options) => panel('table', title, expr, options);

export const GOOD_IS_ZERO = [
  { color: 'green', value: null },
  { color: 'red', value: 1 },
];
export const ODD_IS_ONE = [
  { color: 'green', value: null },
  { color: 'yellow', value: 1 },
];
export const LATENESS = [
  { color: 'green', value: null },
  { color: 'yellow', value: 60 },
  { color: 'red', value: 300 },
];
export const FREE = [
  { color: 'red', value: null },
  { color: 'yellow', value: 12 },
  { color: 'green', value: 20 },
];

export const STATE_FIELDS = Object.entries(STATE_COLORS).map(([name, color]) => ({
  matcher: { id: 'byName', options: name },
  properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }],
}));

/** Lays rows of panels out, each as wide as it says, or with its share of what is left. */
function laidOut(rows) {
  const panels = [];
  let y = 0;
  for (const row of rows) {
    if (typeof row === 'string') {
      panels.push({
        id: panels.length + 1,
        type: 'row',
        title: row,
        collapsed: false,
        panels: [],
        gridPos: { h: 1, w: COLUMNS, x: 0, y },
      });
      y += 1;
      continue;
    }
    const taken = row.reduce((sum, { width = 0 }) => sum + width, 0);
    const share = Math.floor((COLUMNS - taken) / Math.max(1, row.filter(({ width }) => width === undefined).length));
    let x = 0;
    for (const { width = share, height, ...rest } of row) {
      panels.push({ id: panels.length + 1, gridPos: { h: height, w: width, x, y }, ...rest });
      x += width;
    }
    y += Math.max(...row.map(({ height }) => height));
  }
  return panels;
}

const datasourceVariable = {
  name: 'datasource',
  label: 'Data source',
  type: 'datasource',
  query: 'prometheus',
  current: {},
  hide: 0,
};

export function variable(name, label, query, { multi = false } = {}) {
  return {
    name,
    label,
    type: 'query',
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi,
    includeAll: multi,
    ...(multi && { allValue: '.*' }),
    current: {},
    hide: 0,
  };
}

const TITLES = { 'spoor-fleet': 'Spoor: fleet', 'spoor-stream': 'Spoor: stream', 'spoor-tablet': 'Spoor: tablet' };

export function dashboard(uid, description, variables, rows) {
  const others = ['spoor-fleet', 'spoor-stream', 'spoor-tablet'].filter((other) => other !== uid);
  return {
    uid,
    title: TITLES[uid],
    description,
    tags: ['spoor'],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    links: others.map((other) => ({
      type: 'link',
      title: TITLES[other],
      url: `/d/${other}`,
      keepTime: true,
      includeVars: true,
      targetBlank: false,
      asDropdown: false,
      icon: 'dashboard',
      tags: [],
      tooltip: '',
    })),
    templating: { list: [datasourceVariable, ...variables] },
    annotations: { list: [] },
    panels: laidOut(rows),
  };
}
