import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { RouterLink } from '@angular/router';
import { Api, ApiError } from '../../core/api';
import { bytes, counted, duration, zone } from '../../core/format';
import { Broker } from '../../core/models';
import { repeat } from '../../core/repeat';
import { Session } from '../../core/session';
import { Copy } from '../../ui/copy';
import { Frame } from '../../ui/frame';
import { Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';
import { ChangePassword } from './change-password';

interface Key {
  id: string;
  key: string;
}

interface Setting {
  key: string;
  value: string | number | boolean;
  unit?: 's' | 'bytes';
  help: string;
}

interface Settings {
  version: string;
  instance: string;
  addresses: {
    public: string;
    http: string | null;
    https: string | null;
    mqtt: Broker;
  };
  keys: { manifest: Key; release: Key[]; auto_sign: boolean };
  config: Setting[];
}

interface Scripts {
  instance: string;
  revision: string;
  loaded_at: string;
  files: number;
  problems: { file: string; line: number; severity: string; message: string }[];
}

const LOOK = 5000; // ms between looks at the parts
const PARTS: Record<string, string> = {
  postgresql: 'PostgreSQL',
  redis: 'Redis',
  mqtt: 'MQTT broker',
  scripts: 'Scripts',
};

/** One's own account; for operators health, scripts, addresses, keys and the configuration in force. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    ChangePassword,
    Copy,
    Frame,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    PageHeader,
    Problem,
    RouterLink,
    StateBadge,
    Time,
  ],
  templateUrl: './settings.html',
  styleUrl: './settings.scss',
})
export class SettingsPage {
  private readonly api = inject(Api);
  private readonly toast = inject(Toast);
  protected readonly session = inject(Session);

  private readonly ifOperator = (path: string) => (this.session.operator() ? path : undefined);
  protected readonly settings = this.api.resource<Settings>(() => this.ifOperator('/admin/settings'));
  protected readonly scripts = this.api.resource<Scripts>(() => this.ifOperator('/admin/scripts'));
  /** Parts by name; null: the server itself does not answer. */
  protected readonly parts = signal<Record<string, string> | null | undefined>(undefined);
  protected readonly find = signal('');
  protected readonly config = computed(() => {
    const text = this.find().trim().toLowerCase();
    return (this.settings.value()?.config ?? []).filter(({ key, help }) =>
      `${key} ${help}`.toLowerCase().includes(text),
    );
  });
  protected readonly partName = (part: string) => PARTS[part] ?? part;
  protected readonly entries = Object.entries;
  protected readonly counted = counted;
  protected readonly valueOf = ({ value, unit }: Setting) =>
    value === '' ? '–' : unit === 'bytes' ? bytes(+value) : unit === 's' ? duration(+value) : `${value}`;
  protected readonly zone = zone();

  constructor() {
    this.look();
    repeat(() => this.look(), LOOK);
  }

  private async look(): Promise<void> {
    try {
      this.parts.set((await this.api.get<{ parts: Record<string, string> }>('/readyz')).parts);
    } catch (error) {
      this.parts.set(((error as ApiError).body['parts'] as Record<string, string> | undefined) ?? null); // 503 tells the parts, too
    }
  }

  protected async reload(): Promise<void> {
    await this.toast.around(() => this.api.post('/admin/reload'), 'The scripts were reloaded.');
    this.scripts.reload();
  }
}
