/** The text of each dashboard, by the name of its file in deploy/grafana/. */
export const DASHBOARDS: Readonly<Record<string, string>>;
