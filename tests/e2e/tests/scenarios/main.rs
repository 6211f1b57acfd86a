//! The scenarios on one control plane with one adapter that scrapes the pods itself.

mod access;
mod accident;
mod autoscaled;
mod beside;
mod groups;
mod room;
mod routes;
mod shipped;
mod sources;
mod textbook;

use std::process::ExitCode;

use plimsoll_e2e::{
    Adapter, ControlPlane, adapter,
    plane::Settings,
    scenario,
    suite::{self, Cluster},
};

fn main() -> ExitCode {
    let scenarios = vec![
        scenario!(accident::observed_it_happens_and_enforced_it_is_healed),
        scenario!(accident::enforced_from_the_start_it_never_happens),
        scenario!(textbook::a_policy_for_shrinking_is_respected),
        scenario!(textbook::a_policy_for_growth_is_respected),
        scenario!(textbook::a_spike_of_forty_times_is_served_and_left_again),
        scenario!(textbook::two_metrics_scale_up_and_down_with_load),
        scenario!(textbook::a_capacity_guard_beside_them_changes_nothing),
        scenario!(room::free_gpus_in_pieces_are_no_room),
        scenario!(room::slices_of_a_gpu_are_counted_by_their_profile),
        scenario!(room::shares_of_a_gpu_are_room_and_a_plugin_may_restart),
        scenario!(room::no_replica_is_taken_back_while_a_plugin_restarts),
        scenario!(room::gpus_that_have_yet_to_register_are_told_and_not_promised),
        scenario!(room::zones_that_must_stay_even_hold_each_other_back),
        scenario!(room::a_quota_is_room_that_nobody_is_refused),
        scenario!(room::devices_of_a_driver_are_room_where_nothing_is_allocatable),
        scenario!(room::replicas_that_keep_apart_have_a_node_each),
        scenario!(groups::groups_grow_as_wholes),
        scenario!(groups::leaders_and_workers_that_differ_grow_as_wholes),
        scenario!(beside::small_replicas_never_take_the_nodes_that_large_ones_were_promised),
        scenario!(room::room_that_is_booked_is_kept_for_its_pods),
        scenario!(sources::killed_sources_move_nothing_and_are_named),
        scenario!(routes::every_route_answers_through_the_aggregator),
        scenario!(shipped::the_shipped_command_line_and_configuration_are_good),
        scenario!(shipped::its_rights_suffice_and_end_there),
        scenario!(alone: autoscaled::pods_wait_for_nodes_on_purpose_and_are_withdrawn_at_a_stock_out),
        scenario!(alone: autoscaled::claims_for_devices_are_met_by_the_node_that_comes),
        scenario!(alone: autoscaled::a_node_that_never_comes_is_overdue_and_not_waited_for),
        scenario!(access::forged_and_unentitled_requests_are_refused),
    ];
    suite::main(scenarios, async || {
        let plane = ControlPlane::start(&Settings::default()).await?;
        plane.serve_provisioning_requests().await?;
        let adapter = Adapter::start(&plane, &adapter::Settings::default()).await?;
        Ok(Cluster { adapter, prometheus: None, plane })
    })
}
