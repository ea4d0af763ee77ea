import { inject } from '@angular/core';
import { CanActivateFn, CanDeactivateFn, Router, Routes } from '@angular/router';
import { Session } from './core/session';

/** Pages are for who is logged in; others log in first, and come back. */
const loggedIn: CanActivateFn = (_, state) =>
  inject(Session).user() ? true : inject(Router).createUrlTree(['/login'], { queryParams: { to: state.url } });

const operators: CanActivateFn = () => (inject(Session).operator() ? true : inject(Router).createUrlTree(['/']));

/** Pages with something to lose ask before they are left; not where the session is over, which nobody can help. */
const asked: CanDeactivateFn<{ mayLeave(): Promise<boolean> }> = (page) => !inject(Session).user() || page.mayLeave();

export const routes: Routes = [
  { path: 'login', title: 'Log in', loadComponent: () => import('./pages/login/login').then((m) => m.LoginPage) },
  {
    path: '',
    canActivate: [loggedIn],
    loadComponent: () => import('./shell').then((m) => m.Shell),
    children: [
      {
        path: '',
        pathMatch: 'full',
        title: 'Home',
        loadComponent: () => import('./pages/home/home').then((m) => m.HomePage),
      },
      {
        path: 'devices',
        title: 'Devices',
        loadComponent: () => import('./pages/devices/devices').then((m) => m.DevicesPage),
      },
      {
        path: 'devices/add',
        title: 'Add a device',
        canDeactivate: [asked],
        loadComponent: () => import('./pages/add-device/add-device').then((m) => m.AddDevicePage),
      },
      {
        path: 'devices/:id',
        title: 'Device',
        loadComponent: () => import('./pages/device/device').then((m) => m.DevicePage),
      },
      {
        path: 'firmware',
        title: 'Firmware',
        loadComponent: () => import('./pages/firmware/firmware').then((m) => m.FirmwarePage),
      },
      {
        path: 'firmware/:id',
        title: 'Firmware',
        loadComponent: () => import('./pages/firmware/firmware-detail').then((m) => m.FirmwareDetailPage),
      },
      {
        path: '',
        canActivate: [operators],
        children: [
          {
            path: 'rollouts',
            title: 'Rollouts',
            loadComponent: () => import('./pages/rollouts/rollouts').then((m) => m.RolloutsPage),
          },
          {
            path: 'rollouts/new',
            title: 'New rollout',
            loadComponent: () => import('./pages/rollouts/new-rollout').then((m) => m.NewRolloutPage),
          },
          {
            path: 'rollouts/:id',
            title: 'Rollout',
            loadComponent: () => import('./pages/rollouts/rollout').then((m) => m.RolloutPage),
          },
          {
            path: 'policies',
            title: 'Policies',
            loadComponent: () => import('./pages/policies/policies').then((m) => m.PoliciesPage),
          },
          {
            path: 'policies/:name',
            title: 'Policy',
            canDeactivate: [asked],
            loadComponent: () => import('./pages/policies/policy').then((m) => m.PolicyPage),
          },
          {
            path: 'audit',
            title: 'Audit',
            loadComponent: () => import('./pages/audit/audit').then((m) => m.AuditPage),
          },
          {
            path: 'users',
            title: 'Users',
            loadComponent: () => import('./pages/users/users').then((m) => m.UsersPage),
          },
        ],
      },
      {
        path: 'settings',
        title: 'Settings',
        loadComponent: () => import('./pages/settings/settings').then((m) => m.SettingsPage),
      },
      {
        path: '**',
        title: 'Not found',
        loadComponent: () => import('./pages/not-found').then((m) => m.NotFoundPage),
      },
    ],
  },
];
