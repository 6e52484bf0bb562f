/**
 * Clients' comings and goings, as events.
 */
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { EmitEvent } from '../pool/types.ts';

export function tellOfClients(dataPlane: Pick<DataPlane, 'onClients'>, emit: EmitEvent): void {
  const tell = (kind: string, subject: string, message: string) =>
    emit({ kind, level: 'info', subject, message });
  dataPlane.onClients({
    connected: (client, name, address) =>
      tell('client/connected', name, `client ${client} (${address}) connected to ${name}`),
    disconnected: (client, name, reason) =>
      tell('client/disconnected', name, `client ${client} left ${name}: ${reason}`),
  });
}
