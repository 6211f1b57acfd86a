#!/usr/bin/env python3
"""Objects of a public inventory of GPU nodes, filled in part: input for `plimsoll capacity`.

Usage: half-full.py NODES.csv PODS.csv [SHARE] > objects.json

The files are openb_node_list_gpu_node.csv and openb_pod_list_default.csv of github.com/alibaba/clusterdata,
cluster-trace-gpu-v2023 (Apache-2.0). Pods that ask for whole GPUs are taken in the order of the file, again and again,
each to the node with the most free GPUs that takes it, as spreading scheduling does, until SHARE (0.5) of them are in use.
"""
import csv
import itertools
import json
import sys


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def main(nodes, pods, share="0.5"):
    nodes, items = rows(nodes), []
    for node in nodes:
        offers = {
            "cpu": f"{node['cpu_milli']}m", "memory": f"{node['memory_mib']}Mi", "pods": "110", "nvidia.com/gpu": node["gpu"],
        }
        items.append({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node["sn"]},
            "status": {"allocatable": offers, "capacity": offers, "conditions": [{"type": "Ready", "status": "True"}]},
        })
    free = {node["sn"]: [int(node["gpu"]), int(node["cpu_milli"]), int(node["memory_mib"])] for node in nodes}
    total = sum(gpus for gpus, *_ in free.values())
    left = total - int(total * float(share))
    whole = [pod for pod in rows(pods) if int(pod["num_gpu"]) >= 1 and int(pod["gpu_milli"]) == 1000]
    for index, pod in enumerate(itertools.cycle(whole)):
        wants = [int(pod["num_gpu"]), int(pod["cpu_milli"]), int(pod["memory_mib"])]
        taking = [name for name, has in free.items() if all(a >= b for a, b in zip(has, wants))]
        if sum(gpus for gpus, *_ in free.values()) - wants[0] < left:
            break
        if not taking:
            continue
        name = max(taking, key=lambda name: free[name])
        free[name] = [a - b for a, b in zip(free[name], wants)]
        requests = {"cpu": f"{wants[1]}m", "memory": f"{wants[2]}Mi", "nvidia.com/gpu": str(wants[0])}
        items.append({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "trace", "name": f"pod-{index}"},
            "spec": {"nodeName": name, "containers": [{"name": "main", "resources": {"requests": requests}}]},
            "status": {"phase": "Running"},
        })
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout)


main(*sys.argv[1:])
