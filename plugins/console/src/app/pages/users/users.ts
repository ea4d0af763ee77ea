import { ChangeDetectionStrategy, Component, effect, inject, signal, untracked } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatMenuModule } from '@angular/material/menu';
import { RouterLink } from '@angular/router';
import { mdiAccountMultipleOutline, mdiDotsVertical, mdiShieldAccountOutline } from '@mdi/js';
import { Api } from '../../core/api';
import { count } from '../../core/format';
import { Role, User } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { repeat } from '../../core/repeat';
import { Session } from '../../core/session';
import { Confirm } from '../../ui/confirm';
import { Frame } from '../../ui/frame';
import { Icon } from '../../ui/icon';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';

const TYPING = 300; // ms
const AGAIN = 15_000;

/** Accounts and their roles. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    FormsModule,
    Frame,
    Icon,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatMenuModule,
    More,
    PageHeader,
    RouterLink,
    Time,
  ],
  templateUrl: './users.html',
  styles: `
    mat-form-field {
      max-width: 400px;
    }
    .role {
      display: inline-flex;
      align-items: center;
      gap: 6px;
    }
    td:first-child {
      overflow-wrap: anywhere;
      min-width: 140px;
    }
    @media (max-width: 700px) {
      .extra {
        display: none;
      }
    }
  `,
})
export class UsersPage {
  private readonly api = inject(Api);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);
  protected readonly session = inject(Session);

  protected readonly q = signal('');
  protected readonly users = new PagedList<User>((cursor, limit) =>
    this.api.list<User>('/users', { q: this.q().trim(), limit, cursor }),
  );
  protected readonly icons = { mdiAccountMultipleOutline, mdiDotsVertical, mdiShieldAccountOutline };
  protected readonly count = count;

  constructor() {
    effect((cleanUp) => {
      const wait = this.q() === '' ? 0 : TYPING;
      const timer = setTimeout(() => untracked(() => this.users.reload()), wait);
      cleanUp(() => clearTimeout(timer));
    });
    // The live feed does not tell of this.
    repeat(() => this.users.first() && !this.users.loading() && this.users.reload(), AGAIN);
  }

  protected async setRole(user: User, role: Role): Promise<void> {
    const question =
      role === 'operator'
        ? {
            title: `Make ${user.email} an operator?`,
            text: 'Operators see all devices, upload firmware, run rollouts, change policies and accounts.',
            verb: 'Make operator',
          }
        : {
            title: `Remove the operator role from ${user.email}?`,
            text: 'Their sessions end at once. They keep their own devices.',
            verb: 'Remove the role',
            danger: true,
          };
    if ((await this.confirm.ask(question)) === undefined) return;
    if (
      await this.toast.around(
        () => this.api.patch(`/users/${user.id}`, { role }),
        `${user.email} is ${role === 'operator' ? 'an operator' : 'no operator any more'}.`,
      )
    ) {
      await this.users.reload();
    }
  }

  protected async remove(user: User): Promise<void> {
    const question = {
      title: `Delete the account ${user.email}?`,
      text: 'Its sessions end at once. This cannot be undone.',
      verb: 'Delete',
      danger: true,
      typed: user.email,
    };
    if ((await this.confirm.ask(question)) === undefined) return;
    if (await this.toast.around(() => this.api.delete(`/users/${user.id}`), `${user.email} was deleted.`)) {
      await this.users.reload();
    }
  }
}
