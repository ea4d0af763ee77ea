import { field, inOrder, shown } from './telemetry-fields';

describe('telemetry fields', () => {
  it('puts well-known names first', () => {
    expect(inOrder(['zeta', 'uptime', 'alpha', 'rssi', 'rssi'])).toEqual(['rssi', 'uptime', 'alpha', 'zeta']);
  });

  it('writes values with their units', () => {
    expect(shown('rssi', -61)).toBe('-61 dBm');
    expect(shown('heap', 183920)).toBe('180 KiB');
    expect(shown('temperature', 21.456)).toBe('21.46');
    expect(shown('reset_reason', 'power_on')).toBe('power on');
    expect(shown('armed', true)).toBe('yes');
  });

  it('marks axes of times and sizes where they read well', () => {
    for (const name of ['uptime', 'heap']) {
      const { steps = [], format } = field(name);
      expect(steps).toEqual([...steps].sort((a, b) => a - b));
      expect(new Set(steps.map(format)).size).toBe(steps.length);
    }
    for (const step of field('uptime').steps!) expect(field('uptime').format(step)).toMatch(/^\d+ (s|min|h|d)$/);
  });

  it('names what it does not know as the device does, in words', () => {
    expect(field('cpu_load').label).toBe('Cpu load');
  });
});
