/**
 * QEMU's guest agent in the test guest: Debian's qemu-ga on a virtio-serial port, a unix socket on the host.
 */
import type { Equipment, Guest } from './guest.ts';

const port = 'org.qemu.guest_agent.0';
const program = '/usr/sbin/qemu-ga';

/** The port for the agent, and the agent; `startAgent` runs it. QEMU listens on `socket`, one client at a time. */
export function agentPort(socket: string): Equipment {
  return {
    qemuArguments: [
      ...['-chardev', `socket,id=agent,path=${socket},server=on,wait=off`],
      ...['-device', 'virtio-serial-pci'],
      ...['-device', `virtserialport,chardev=agent,name=${port}`],
    ],
    drivers: ['virtio_console'],
    programs: [program],
  };
}

/** Starts the agent in a guest that has its port. No udev names the ports there, so it is found by its name. */
export async function startAgent(guest: Guest): Promise<void> {
  await guest.run(
    `mkdir -p /var/run; device=/dev/$(basename $(dirname $(grep -l ${port} /sys/class/virtio-ports/*/name)));` +
      ` ${program} -d -m virtio-serial -p $device -t /var/run -f /var/run/qemu-ga.pid -l /tmp/qemu-ga.log`,
  );
}
