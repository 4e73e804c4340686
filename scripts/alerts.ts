const HEAD = `# Made from deploy/monitoring/alerts.yaml by scripts/generate.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: drakkar
spec:
`;

/** @returns where the Prometheus Operator's resource of the alerts is, from the root of the repository, and its text */
export function alertsResource(alerts: string): readonly [path: string, text: string] {
  return ['deploy/kubernetes/overlays/monitoring/alerts.yaml', HEAD + alerts.replaceAll(/^(?=.)/gm, '  ')];
}
